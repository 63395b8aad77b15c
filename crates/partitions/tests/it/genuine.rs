//! Reading every partition gives exactly what librdkafka got from the genuine broker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ottla_partitions::{Isolation, Partition, PartitionRules, PartitionSlice};
use ottla_records::{batches_in, control::ControlKind};
use ottla_types::{TopicPartition, Uuid};
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn base64(bytes: Option<&[u8]>) -> Value {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let Some(bytes) = bytes else { return Value::Null };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(bits >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    Value::String(text)
}

/// Everything a consumer sees, as the rows of `consumed.jsonl`.
fn consumed(partition: &Partition, isolation: Isolation, name: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let ends = partition.ends();
    let mut at = ends.log_start;
    let end =
        if isolation == Isolation::Committed { ends.last_stable } else { ends.high_watermark };
    while at < end {
        let from = at;
        let read = partition.read(PartitionSlice::new(from, 2000, isolation)).unwrap();
        // Whose records are not to be seen from here on, and from which offset.
        let mut aborted = read.aborted.unwrap_or_default();
        let mut hidden = BTreeSet::new();
        for batch in batches_in(&read.records) {
            let batch = batch.unwrap();
            at = batch.next_offset();
            let producer = batch.producer_id();
            aborted.retain(|(id, first)| {
                let due = *first <= batch.last_offset();
                if due {
                    hidden.insert(*id);
                }
                !due
            });
            let unpacked = batch.unpack(1 << 24).unwrap();
            if batch.is_control() {
                let record = unpacked.records().next().unwrap().unwrap();
                if ControlKind::of(&record) == Some(ControlKind::Abort) {
                    hidden.remove(&producer);
                }
                continue;
            }
            if batch.is_transactional() && hidden.contains(&producer) {
                continue;
            }
            for record in unpacked.records() {
                let record = record.unwrap();
                if record.offset < from {
                    // Its batch came whole; a consumer passes over what it has not asked for.
                    continue;
                }
                let headers: Vec<Value> = record
                    .headers()
                    .map(|(name, value)| json!([String::from_utf8_lossy(name), base64(value)]))
                    .collect();
                rows.push(json!({
                    "topic": partition.topic(), "partition": partition.index(), "isolation": name,
                    "offset": record.offset, "timestamp": record.timestamp,
                    "key": base64(record.key), "value": base64(record.value), "headers": headers,
                }));
            }
        }
    }
    rows
}

#[test]
fn every_record_is_read_as_librdkafka_read_it() {
    let work = tempfile::tempdir().unwrap();
    copy(&golden("data-dir"), work.path());
    let mut places = Vec::new();
    for entry in fs::read_dir(work.path()).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if !folder.is_dir() || name.starts_with("__cluster_metadata") {
            continue;
        }
        let (topic, index) = name.rsplit_once('-').unwrap();
        let text = fs::read_to_string(folder.join("partition.metadata")).unwrap();
        let id: Uuid = text.split("topic_id: ").nth(1).unwrap().trim().parse().unwrap();
        places.push((TopicPartition::new(topic, index.parse().unwrap()), id));
    }
    let partitions = crate::open(work.path(), &places, &PartitionRules::default());
    let text = fs::read_to_string(golden("expected/consumed.jsonl")).unwrap();
    let wanted: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(wanted.len(), 3217);
    // Rows by partition and isolation; only the fields that both sides have.
    let fields = ["offset", "timestamp", "key", "value", "headers"];
    let short = |row: &Value| -> Vec<Value> {
        let there = fields.iter().filter(|field| wanted[0].get(**field).is_some());
        there.map(|field| row[*field].clone()).collect()
    };
    let mut by_place: BTreeMap<(String, i64, String), Vec<Vec<Value>>> = BTreeMap::new();
    for row in &wanted {
        let key = (
            row["topic"].as_str().unwrap().to_owned(),
            row["partition"].as_i64().unwrap(),
            row["isolation"].as_str().unwrap().to_owned(),
        );
        by_place.entry(key).or_default().push(short(row));
    }
    let mut read = 0;
    for partition in partitions.all() {
        for (isolation, name) in
            [(Isolation::Uncommitted, "read_uncommitted"), (Isolation::Committed, "read_committed")]
        {
            let key = (partition.topic().to_owned(), partition.index().into(), name.to_owned());
            let rows = consumed(&partition, isolation, name);
            let rows: Vec<Vec<Value>> = rows.iter().map(short).collect();
            read += rows.len();
            let wanted = by_place.remove(&key).unwrap_or_default();
            assert_eq!(rows.len(), wanted.len(), "{key:?}");
            for (row, wanted) in rows.iter().zip(&wanted) {
                assert_eq!(row, wanted, "{key:?}");
            }
        }
    }
    assert_eq!(read, 3217);
    assert!(by_place.is_empty(), "{:?}", by_place.keys());
}
