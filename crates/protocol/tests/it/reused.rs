//! A message that is read into the memory of another, of whatever version, is as a fresh one.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_protocol::messages::consumer_group_describe_response::ConsumerGroupDescribeResponse;
use ottla_protocol::messages::describe_configs_response::DescribeConfigsResponse;
use ottla_protocol::messages::fetch_request::FetchRequest;
use ottla_protocol::messages::fetch_response::FetchResponse;
use ottla_protocol::messages::join_group_request::JoinGroupRequest;
use ottla_protocol::messages::metadata_response::MetadataResponse;
use ottla_protocol::messages::produce_request::ProduceRequest;
use ottla_protocol::messages::produce_response::ProduceResponse;
use ottla_protocol::{Decoder, Message};

use crate::made::{Dice, bytes, schemas};

fn reads_over_any_other<M: Message + Debug + PartialEq>() {
    let all = schemas("rpc");
    let schema = all.iter().find(|it| it.name == M::NAME).unwrap();
    let mut dice = Dice(3);
    let versions: Vec<i16> = M::VERSIONS.collect();
    let mut used = M::default();
    for _ in 0..500 {
        let at = usize::try_from(dice.roll(versions.len() as u64)).unwrap();
        let input = Bytes::from(bytes(schema, versions[at], &mut dice));
        let fresh = M::decode(&mut Decoder::new(input.clone()), versions[at]).unwrap();
        used.decode_into(&mut Decoder::new(input), versions[at]).unwrap();
        assert_eq!(used, fresh, "{} version {}", M::NAME, versions[at]);
    }
}

#[test]
fn a_message_read_into_another_is_as_a_fresh_one() {
    reads_over_any_other::<ProduceRequest>();
    reads_over_any_other::<ProduceResponse>();
    reads_over_any_other::<FetchRequest>();
    reads_over_any_other::<FetchResponse>();
    reads_over_any_other::<MetadataResponse>();
    reads_over_any_other::<JoinGroupRequest>();
    reads_over_any_other::<DescribeConfigsResponse>();
    reads_over_any_other::<ConsumerGroupDescribeResponse>();
}
