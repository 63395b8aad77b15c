//! Every record of Kafka's own topics, every kind of group, transaction and share state: decoded
//! and encoded, the bytes stay.

use bytes::Bytes;
use ottla_protocol::{Decoder, Encoder, decode_key, decode_value, group, share, transaction};
use ottla_records::batches_in;

/// Keys and values of all records of a topic's partitions.
fn records(topic: &str) -> Vec<(Bytes, Option<Bytes>)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../golden/data-dir");
    let mut all = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if !folder.file_name().unwrap().to_str().unwrap().starts_with(topic) {
            continue;
        }
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_none_or(|ending| ending != "log") {
                continue;
            }
            let log = std::fs::read(file).unwrap();
            for batch in batches_in(&log).filter(|batch| !batch.as_ref().unwrap().is_control()) {
                for record in batch.unwrap().unpack(1 << 24).unwrap().records() {
                    let record = record.unwrap();
                    let key = Bytes::copy_from_slice(record.key.unwrap());
                    all.push((key, record.value.map(Bytes::copy_from_slice)));
                }
            }
        }
    }
    all
}

macro_rules! same {
    ($module:ident, $key:expr, $value:expr) => {{
        let (kind, mut d) = decode_key($key.clone()).unwrap();
        let key = $module::Key::decode(kind, &mut d, 0).unwrap().expect("a known type");
        d.finish().unwrap();
        let mut e = Encoder::new();
        e.i16(kind);
        key.encode(&mut e, 0).unwrap();
        assert_eq!(e.into_bytes(), $key, "{key:?}");
        if let Some(bytes) = $value {
            let (version, mut d): (i16, Decoder) = decode_value(bytes.clone()).unwrap();
            let value = $module::Value::decode(kind, &mut d, version)
                .unwrap_or_else(|error| panic!("{key:?} v{version} {bytes:?}: {error}"))
                .expect("its value");
            d.finish().unwrap();
            let mut e = Encoder::new();
            e.i16(version);
            value.encode(&mut e, version).unwrap();
            assert_eq!(e.into_bytes(), bytes, "{value:?}");
        }
        kind
    }};
}

#[test]
fn groups_of_every_kind() {
    let mut kinds = std::collections::BTreeSet::new();
    for (key, value) in records("__consumer_offsets") {
        kinds.insert(same!(group, key, value));
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]
    );
}

#[test]
fn transactions() {
    let all = records("__transaction_state");
    assert!(all.len() > 150, "{}", all.len());
    for (key, value) in all {
        same!(transaction, key, value);
    }
}

#[test]
fn share_state() {
    let all = records("__share_group_state");
    assert!(all.len() > 20, "{}", all.len());
    for (key, value) in all {
        same!(share, key, value);
    }
}
