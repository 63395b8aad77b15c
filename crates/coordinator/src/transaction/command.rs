//! Commands, replies and timers of a transaction coordinator.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ottla_protocol::messages::list_transactions_request::ListTransactionsRequest;
use ottla_types::{ErrorCode, ProducerEpoch, ProducerId};

use super::stored::{Transaction, TransactionPartitions};

/// InitProducerId with a transactional id.
#[derive(Clone, Debug)]
pub struct InitProducer {
    /// The transactional id.
    pub id: String,
    /// `transaction.timeout.ms`.
    pub timeout_ms: i32,
    /// The id and epoch that the producer had until now, if the request has them (KIP-360).
    pub known: Option<(ProducerId, ProducerEpoch)>,
    /// A producer id that is not in use, if the host was asked for one
    /// ([`TransactionReply::NeedsId`]).
    pub fresh: Option<ProducerId>,
}

/// AddPartitionsToTxn, or the partitions that a produce or an offset commit adds (KIP-890).
#[derive(Clone, Debug)]
pub struct AddPartitions {
    /// The transactional id.
    pub id: String,
    /// The producer's id and epoch.
    pub producer: (ProducerId, ProducerEpoch),
    /// The partitions that are added to the transaction.
    pub partitions: TransactionPartitions,
    /// Only check that the partitions are in the transaction; add nothing.
    pub verify_only: bool,
    /// The `transaction.version` that the client speaks.
    pub client_version: i16,
}

/// EndTxn.
#[derive(Clone, Debug)]
pub struct EndTransaction {
    /// The transactional id.
    pub id: String,
    /// The producer's id and epoch.
    pub producer: (ProducerId, ProducerEpoch),
    /// Commit, or abort?
    pub commit: bool,
    /// The `transaction.version` that the client speaks.
    pub client_version: i16,
    /// A producer id that is not in use, if the host was asked for one
    /// ([`TransactionReply::NeedsId`]).
    pub fresh: Option<ProducerId>,
}

/// A command for a transaction coordinator.
#[derive(Clone, Debug)]
pub enum TransactionCommand {
    /// The partition has been replayed: timers start now.
    Loaded,
    /// A timer fired.
    Expired(TransactionTimer),
    /// InitProducerId.
    Init(InitProducer),
    /// AddPartitionsToTxn and what implies it.
    Add(AddPartitions),
    /// EndTxn.
    End(EndTransaction),
    /// Hand out the markers that are to be written.
    TakeWork,
    /// All markers of this work are written.
    Marked(MarkerWork),
    /// DescribeTransactions, for one id.
    Describe(String),
    /// ListTransactions, for this coordinator's part.
    List(ListTransactionsRequest),
}

/// A reply of a transaction coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionReply {
    /// To [`TransactionCommand::Init`] and [`TransactionCommand::End`]: the producer's id and epoch
    /// from now on.
    Producer(Result<(ProducerId, ProducerEpoch), ErrorCode>),
    /// To those two: send the command again with a fresh producer id.
    NeedsId,
    /// To [`TransactionCommand::Add`].
    Added(Result<(), ErrorCode>),
    /// To [`TransactionCommand::TakeWork`].
    Work(Vec<MarkerWork>),
    /// To [`TransactionCommand::Marked`].
    Done,
    /// To [`TransactionCommand::Describe`].
    Described(Option<Transaction>),
    /// To [`TransactionCommand::List`]; `INVALID_REGULAR_EXPRESSION` if its pattern is malformed.
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

/// The producer's id and epoch, or the error for the client; `None` if a fresh producer id is
/// needed.
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
}

/// A timer of a transaction coordinator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransactionTimer {
    /// The transaction timeout of this id.
    Timeout(Arc<str>),
    /// Time to look for ids that expire (`transactional.id.expiration.ms`).
    IdExpiry,
}
