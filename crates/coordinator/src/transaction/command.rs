//! What a transaction coordinator is asked, what it answers, and what it sets its timers for.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::settings::TransactionSettings;
use super::stored::{Transaction, TransactionPartitions};

/// InitProducerId with a transactional id.
#[derive(Clone, Debug)]
pub struct InitProducer {
    /// The transactional id.
    pub id: String,
    /// For how long its transactions may be open, in milliseconds.
    pub timeout_ms: i32,
    /// Who the producer was until now, if it says so (KIP-360).
    pub known: Option<(ProducerId, ProducerEpoch)>,
    /// A producer id that nobody has, if the host has been asked for one.
    pub fresh: Option<ProducerId>,
}

/// AddPartitionsToTxn, or what a produce or an offset commit implies.
#[derive(Clone, Debug)]
pub struct AddPartitions {
    /// The transactional id.
    pub id: String,
    /// The producer.
    pub producer: (ProducerId, ProducerEpoch),
    /// What the transaction is going to touch.
    pub partitions: TransactionPartitions,
    /// Only say whether it may.
    pub verify_only: bool,
    /// The `transaction.version` that the client speaks.
    pub client_version: i16,
}

/// EndTxn.
#[derive(Clone, Debug)]
pub struct EndTransaction {
    /// The transactional id.
    pub id: String,
    /// The producer.
    pub producer: (ProducerId, ProducerEpoch),
    /// Commit, or abort?
    pub commit: bool,
    /// The `transaction.version` that the client speaks.
    pub client_version: i16,
    /// A producer id that nobody has, if the host has been asked for one.
    pub fresh: Option<ProducerId>,
}

/// What is asked of a transaction coordinator.
#[derive(Clone, Debug)]
pub enum TransactionCommand {
    /// The log has been replayed: timers start now.
    Loaded,
    /// The operator changed settings.
    Settings(TransactionSettings),
    /// A timer fired.
    Expired(TransactionTimer),
    /// InitProducerId.
    Init(InitProducer),
    /// AddPartitionsToTxn and what implies it.
    Add(AddPartitions),
    /// EndTxn.
    End(EndTransaction),
    /// Which markers are to be written?
    TakeWork,
    /// All markers of this work are written.
    Marked(MarkerWork),
    /// Some could not be: it is to be handed out again.
    Unmarked(MarkerWork),
    /// DescribeTransactions, for one id.
    Describe(String),
    /// ListTransactions, for this coordinator's part.
    List(ListTransactionsRequest),
}

/// What a transaction coordinator answers.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionReply {
    /// To [`TransactionCommand::Init`] and [`TransactionCommand::End`]: the producer's id and epoch
    /// from now on.
    Producer(Result<(ProducerId, ProducerEpoch), ErrorCode>),
    /// To those two: ask again with a fresh producer id.
    NeedsId,
    /// To [`TransactionCommand::Add`].
    Added(Result<(), ErrorCode>),
    /// To [`TransactionCommand::TakeWork`].
    Work(Vec<MarkerWork>),
    /// To [`TransactionCommand::Marked`] and [`TransactionCommand::Unmarked`].
    Done,
    /// To [`TransactionCommand::Describe`].
    Described(Option<Transaction>),
    /// To [`TransactionCommand::List`]; an error if its pattern is none.
    Listed(Result<Vec<(String, Transaction)>, ErrorCode>),
}

ottla_machine::answers! {
    TransactionReply {
        Added(it) => Result<(), ErrorCode> = it;
        Work(it) => Vec<MarkerWork> = it;
        Done => () = ();
        Described(it) => Option<Transaction> = it;
        Listed(it) => Result<Vec<(String, Transaction)>, ErrorCode> = it;
    }
}

/// Who the producer is, or why it is not told; `None` if a fresh producer id is needed for that.
impl TryFrom<TransactionReply> for Option<Result<(ProducerId, ProducerEpoch), ErrorCode>> {
    type Error = TransactionReply;

    fn try_from(reply: TransactionReply) -> Result<Self, TransactionReply> {
        match reply {
            TransactionReply::Producer(told) => Ok(Some(told)),
            TransactionReply::NeedsId => Ok(None),
            other => Err(other),
        }
    }
}

/// Markers to be written: in each partition one that ends the producer's transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerWork {
    /// The transactional id.
    pub id: String,
    /// The producer, with the epoch that its markers carry.
    pub producer: (ProducerId, ProducerEpoch),
    /// Commit, or abort?
    pub commit: bool,
    /// Where.
    pub partitions: TransactionPartitions,
    /// The `transaction.version` of the transaction: from 2 on the markers' epoch is larger than
    /// that of its records.
    pub version: i16,
    /// Was it handed out before, and could not be done?
    pub is_again: bool,
}

/// What a transaction coordinator waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionTimer {
    /// A transaction has been open for too long.
    Timeout(Arc<str>),
    /// Look for ids that nobody uses any more.
    IdExpiry,
}
