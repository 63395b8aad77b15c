//! What a genuine Kafka 4.3.1 wrote into `__consumer_offsets`: read, and written again.

use std::path::Path;

use bytes::Bytes;
use ottla_coordinator::group::{GroupMachine, GroupRecord};
use ottla_machine::Machine;
use ottla_records::batches_in;

#[test]
fn classic_records_are_written_as_they_were_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/data-dir");
    let (mut same, mut consumers, mut others) = (0, 0, 0);
    let mut machine = GroupMachine::default();
    for index in 0..4 {
        let folder = root.join(format!("__consumer_offsets-{index}"));
        let log = std::fs::read(folder.join("00000000000000000000.log")).unwrap();
        for batch in batches_in(&log).filter(|batch| !batch.as_ref().unwrap().is_control()) {
            let unpacked = batch.unwrap().unpack(1 << 20).unwrap();
            for record in unpacked.records() {
                let record = record.unwrap();
                let key = Bytes::copy_from_slice(record.key.unwrap());
                let value = record.value.map(Bytes::copy_from_slice);
                match GroupRecord::decode(key.clone(), value.clone()).unwrap() {
                    // Topics stand in no order, and some have a time: the length says enough.
                    Some(GroupRecord::Consumer(it)) => {
                        let it = GroupRecord::Consumer(it);
                        let bytes = value.as_ref().map(Bytes::len);
                        let (key, value) = it.encode(record.timestamp);
                        assert_eq!(value.as_ref().map(Bytes::len), bytes, "{it:?}");
                        assert_eq!(GroupRecord::decode(key, value).unwrap().as_ref(), Some(&it));
                        machine.apply(&it);
                        consumers += 1;
                    }
                    Some(it) => {
                        assert_eq!(it.encode(0), (key, value), "at {}", record.offset);
                        machine.apply(&it);
                        same += 1;
                    }
                    None => others += 1,
                }
            }
        }
    }
    assert!(same > 150 && consumers > 20 && others > 10, "{same} {consumers} {others}");
    assert!(machine.stored().groups.contains_key("live-classic"));
    assert!(machine.stored().committed("live-classic", "multi", 0).is_some());
}
