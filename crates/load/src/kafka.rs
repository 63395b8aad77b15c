//! Kafka's protocol by the driver that NATS and RabbitMQ have: batches, an answer for each.

use clap::Args;

use ottla_records::Compression;

use crate::produce::{BatchShape, check_accepted};
use crate::window::{Confirmed, LoadPeer, LoadStream, MessageLoad, Parse};
use crate::wire::{LoadError, WireReader};

/// The longest answer that is taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Publishes batches to the partitions of a topic, with an answer for each.
#[derive(Args, Clone, Debug)]
pub struct Kafka {
    #[command(flatten)]
    load: MessageLoad,
    /// How many messages a batch has; `count` and `depth` are of batches.
    #[arg(long, default_value_t = 1)]
    records: usize,
}

impl Kafka {
    /// Runs the load.
    ///
    /// # Errors
    /// The broker refuses, or a connection breaks.
    pub fn run(&self) -> Result<String, LoadError> {
        let (target, records) = (&self.load.target, self.records);
        let (record_bytes, compression) = (self.load.record_bytes, Compression::None);
        let batches = BatchShape { records, record_bytes, compression, acks: -1 };
        let open = |at: i32| {
            let broker = KafkaBroker {
                stream: LoadStream::open(target.port)?,
                step: i64::try_from(records).unwrap_or(i64::MAX),
                due: None,
                count: 0,
            };
            Ok((broker, batches.frame(&target.topic, target.partition(at))?))
        };
        self.load.run(open).map(|it| it.json().to_string())
    }
}

/// The first answer's offset, if nothing is refused.
fn parse(bytes: &[u8]) -> Result<Option<(i64, usize)>, LoadError> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > ANSWER_BYTES_MAX {
        return Err(LoadError::Unexpected("an answer is too long"));
    }
    let Some(answer) = rest.get(..length) else { return Ok(None) };
    check_accepted(&mut WireReader(answer))?;
    let mut answer = WireReader(answer);
    let (_correlation, _topics, _topic) = (answer.i32()?, answer.i32()?, answer.text()?);
    let (_partitions, _index, _error) = (answer.i32()?, answer.i32()?, answer.i16()?);
    Ok(Some((answer.i64()?, 4 + length)))
}

struct KafkaBroker {
    stream: LoadStream,
    /// How many messages a batch has.
    step: i64,
    /// The offset of the next batch.
    due: Option<i64>,
    /// How many batches have been acknowledged.
    count: u64,
}

impl LoadPeer for KafkaBroker {
    type Told = i64;

    const PARSE: Parse<i64> = parse;

    fn stream(&mut self) -> &mut LoadStream {
        &mut self.stream
    }

    fn confirms(&mut self, offset: i64) -> Result<Option<Confirmed>, LoadError> {
        // A partition that one connection writes to counts its messages one by one.
        if self.due.is_some_and(|due| due != offset) {
            return Err(LoadError::Unexpected("a batch is out of order"));
        }
        self.due = Some(offset + self.step);
        self.count += 1;
        Ok(Some(Confirmed::One(self.count)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    /// The answer to a batch of the topic "t": its offset and its code.
    fn answer(offset: u8, error: u8) -> Vec<u8> {
        let mut all = b"\0\0\0\x37\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0".to_vec();
        all.extend([error, 0, 0, 0, 0, 0, 0, 0, offset]);
        // No time, the log's start, no refused records, no message, not throttled.
        all.extend([[0xff; 8], [0; 8]].concat());
        all.extend([0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        all
    }

    #[test]
    fn batches_are_acknowledged_one_after_the_other() {
        // The answer to three batches of four records, and the result.
        let half = answer(10, 0)[..20].to_vec();
        let cases = [
            ([answer(6, 0), answer(10, 0), answer(14, 0)].concat(), Ok(3)),
            ([answer(6, 0), answer(9, 0)].concat(), Err("a batch is out of order")),
            ([answer(6, 0), answer(6, 0)].concat(), Err("a batch is out of order")),
            ([answer(6, 0), answer(10, 7)].concat(), Err("the broker answered with error code 7")),
            ([answer(6, 0), half].concat(), Err("the connection broke")),
            (vec![0, 1, 0, 1], Err("an answer is too long")),
            (vec![0xff; 4], Err("an answer is too long")),
            ([vec![0, 0, 0, 8], vec![0; 8]].concat(), Err("the connection broke")),
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (said, wanted) in cases {
            let stream = LoadStream::open(listener.local_addr().unwrap().port()).unwrap();
            listener.accept().unwrap().0.write_all(&said).unwrap();
            let (mut broker, mut all) =
                (KafkaBroker { stream, step: 4, due: None, count: 0 }, vec![]);
            let mut told = Ok(());
            while told.is_ok() && all.len() < 3 {
                told = broker.confirmed(&mut all);
            }
            match (told, wanted) {
                (Ok(()), Ok(count)) => assert_eq!(all.len(), count),
                (Err(error), Err(why)) => assert!(error.to_string().starts_with(why), "{error}"),
                (told, wanted) => panic!("{told:?}, not {wanted:?}"),
            }
        }
    }
}
