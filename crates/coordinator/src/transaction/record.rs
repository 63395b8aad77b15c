//! What the machine writes down, in Kafka's records.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ottla_protocol::transaction::transaction_log_key::TransactionLogKey;
use ottla_protocol::transaction::transaction_log_value::{PartitionsSchema, TransactionLogValue};
use ottla_protocol::{DecodeError, Message, decode_key, decode_value, encode_key, encode_value};

use super::stored::{Transaction, TransactionStatus};

/// The only type of key.
const TRANSACTION: i16 = 0;
/// The version that values are written in; every Kafka from 4.0 on reads it.
const VERSION: i16 = 1;

/// One record of `__transaction_state`. Without a value it says that the id is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// The transactional id.
    pub id: String,
    /// Its producer and its transaction.
    pub value: Option<Transaction>,
}

impl TransactionRecord {
    /// The record of this key and value; `None` if the key is of another type.
    ///
    /// # Errors
    /// Key or value are broken, or of a version that is not known: guessing would lose
    /// transactions.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, DecodeError> {
        let (kind, mut key) = decode_key(key)?;
        if kind != TRANSACTION {
            return Ok(None);
        }
        let id = TransactionLogKey::decode(&mut key, 0)?.transactional_id;
        let Some(value) = value else { return Ok(Some(Self { id, value: None })) };
        let (version, mut d) = decode_value(value)?;
        let value = TransactionLogValue::decode(&mut d, version)?;
        let Some(state) = TransactionStatus::of(value.transaction_status) else {
            return Err(DecodeError::Version {
                name: "TransactionLogValue's status",
                version: i16::from(value.transaction_status),
            });
        };
        let touched = value.transaction_partitions.unwrap_or_default().into_iter();
        let value = Transaction {
            producer_id: value.producer_id,
            previous_id: value.previous_producer_id,
            next_id: value.next_producer_id,
            epoch: value.producer_epoch,
            timeout_ms: value.transaction_timeout_ms,
            state,
            partitions: touched
                .map(|it| (it.topic, it.partition_ids.into_iter().collect()))
                .collect(),
            started_ms: value.transaction_start_timestamp_ms,
            updated_ms: value.transaction_last_update_timestamp_ms,
            client_version: value.client_transaction_version,
        };
        Ok(Some(Self { id, value: Some(value) }))
    }

    /// Key and value of the record.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let key = TransactionLogKey { transactional_id: self.id.clone(), ..Default::default() };
        let fits = "a transaction's texts came in a request and fit a record";
        let value = self.value.as_ref().map(|it| encode_value(&to_log(it), VERSION).expect(fits));
        (encode_key(TRANSACTION, &key).expect(fits), value)
    }
}

fn to_log(it: &Transaction) -> TransactionLogValue {
    let touched = it.partitions.iter().map(|(topic, indexes)| PartitionsSchema {
        topic: topic.clone(),
        partition_ids: indexes.iter().copied().collect::<Vec<_>>(),
        ..Default::default()
    });
    TransactionLogValue {
        producer_id: it.producer_id,
        previous_producer_id: it.previous_id,
        next_producer_id: it.next_id,
        producer_epoch: it.epoch,
        transaction_timeout_ms: it.timeout_ms,
        transaction_status: it.state as i8,
        // In Kafka's record, null is "no partitions yet" and an empty list "no partitions any
        // more".
        transaction_partitions: (it.state != TransactionStatus::Empty).then(|| touched.collect()),
        transaction_last_update_timestamp_ms: it.updated_ms,
        transaction_start_timestamp_ms: it.started_ms,
        client_transaction_version: it.client_version,
        ..Default::default()
    }
}
