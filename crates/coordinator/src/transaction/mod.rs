//! The transaction coordinator: id and epoch of each transactional producer, the partitions of its
//! transaction, and how it ends (KIP-98, KIP-360, KIP-890).
//!
//! Everything durable is one record for each transactional id. A decision reads it and writes the
//! next; requests never see a half-done transition, as a record is applied in the turn that makes
//! it. Markers are work for the host: [`TransactionCommand::TakeWork`] hands it out once the
//! decision that it carries out is committed, and [`TransactionCommand::Marked`] ends the
//! transaction.

mod add;
mod command;
mod end;
mod expire;
mod init;
mod machine;
mod record;
mod settings;
mod show;
mod stored;

pub use command::{
    AddPartitions, EndTransaction, InitProducer, MarkerWork, TransactionCommand, TransactionReply,
    TransactionTimer,
};
pub use machine::TransactionMachine;
pub use record::TransactionRecord;
pub use settings::TransactionSettings;
pub use stored::{Transaction, TransactionPartitions, TransactionStatus};
