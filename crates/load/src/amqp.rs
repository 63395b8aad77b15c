//! RabbitMQ's AMQP 0-9-1: persistent messages to a durable queue, confirmed by the server.
//!
//! As much of the protocol as that needs: one channel, the default exchange, PLAIN as guest.

use clap::{Args, ValueEnum};

use crate::measure::LoadReport;
use crate::window::{Confirmed, LoadPeer, LoadStream, MessageLoad, Parse};
use crate::wire::LoadError;

/// What opens a connection: the protocol's name and version.
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Frames: a method, the header of a content, a part of its body, a sign of life; and their end.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;
/// A frame's type, channel and length before its payload, in bytes.
const FRAME_HEAD_BYTES: usize = 7;
/// The longest frame that both ends take, in bytes: what RabbitMQ offers.
const FRAME_BYTES_MAX: usize = 128 << 10;

/// A method: its class and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AmqpMethod(u16, u16);

/// The methods.
const START: AmqpMethod = AmqpMethod(10, 10);
const START_OK: AmqpMethod = AmqpMethod(10, 11);
const TUNE: AmqpMethod = AmqpMethod(10, 30);
const TUNE_OK: AmqpMethod = AmqpMethod(10, 31);
const OPEN: AmqpMethod = AmqpMethod(10, 40);
const OPEN_OK: AmqpMethod = AmqpMethod(10, 41);
const CLOSE: AmqpMethod = AmqpMethod(10, 50);
const CHANNEL_OPEN: AmqpMethod = AmqpMethod(20, 10);
const CHANNEL_OPEN_OK: AmqpMethod = AmqpMethod(20, 11);
const CHANNEL_CLOSE: AmqpMethod = AmqpMethod(20, 40);
const DECLARE: AmqpMethod = AmqpMethod(50, 10);
const DECLARE_OK: AmqpMethod = AmqpMethod(50, 11);
const PUBLISH: AmqpMethod = AmqpMethod(60, 40);
const ACK: AmqpMethod = AmqpMethod(60, 80);
const NACK: AmqpMethod = AmqpMethod(60, 120);
const SELECT: AmqpMethod = AmqpMethod(85, 10);
const SELECT_OK: AmqpMethod = AmqpMethod(85, 11);

/// Which queue holds the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueueKind {
    /// The classic queue, as it is declared without arguments.
    Classic,
    /// The classic queue in its second version.
    Classic2,
    /// The replicated queue, whose log is flushed to the disk.
    Quorum,
}

/// Publishes persistent messages to durable queues of RabbitMQ, each confirmed.
#[derive(Args, Clone, Debug)]
pub struct Rabbit {
    #[command(flatten)]
    load: MessageLoad,
    /// Which queue.
    #[arg(long, value_enum, default_value_t = QueueKind::Classic2)]
    queue: QueueKind,
}

impl Rabbit {
    /// Runs the load, or counts the messages that there are.
    ///
    /// # Errors
    /// The server refuses, or a connection breaks.
    pub fn run(&self) -> Result<String, LoadError> {
        if self.load.ask {
            let mut messages = 0;
            for at in 0..self.load.target.connections {
                let mut server = AmqpServer::open(self.load.target.port)?;
                messages += u64::from(server.declare(&self.load.place(at), None)?);
            }
            return Ok(serde_json::json!({ "messages": messages }).to_string());
        }
        let open = |at: i32| {
            let place = &self.load.place(at);
            let mut server = AmqpServer::open(self.load.target.port)?;
            server.declare(place, Some(self.queue))?;
            server.call(SELECT, &[0], SELECT_OK)?;
            Ok((server, message_frames(place, self.load.record_bytes)?))
        };
        self.load.run(open).map(|it: LoadReport| it.json().to_string())
    }
}

/// One message to a queue: the method, the header of the content, its body.
fn message_frames(queue: &str, bytes: usize) -> Result<Vec<u8>, LoadError> {
    let mut publish = vec![0; 2];
    // The default exchange takes a queue's name for the key.
    short_text(&mut publish, "")?;
    short_text(&mut publish, queue)?;
    publish.push(0);
    let mut all = method_frame(1, PUBLISH, &publish);
    let mut header = Vec::new();
    header.extend_from_slice(&PUBLISH.0.to_be_bytes());
    header.extend_from_slice(&0u16.to_be_bytes());
    header.extend_from_slice(&(bytes as u64).to_be_bytes());
    // The only property is the delivery mode: persistent.
    header.extend_from_slice(&0x1000u16.to_be_bytes());
    header.push(2);
    all.extend(amqp_frame(HEADER, 1, &header));
    let part_bytes = FRAME_BYTES_MAX - FRAME_HEAD_BYTES - 1;
    for part in vec![b'x'; bytes].chunks(part_bytes) {
        all.extend(amqp_frame(BODY, 1, part));
    }
    Ok(all)
}

fn amqp_frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut all = vec![kind];
    all.extend_from_slice(&channel.to_be_bytes());
    all.extend_from_slice(&length.to_be_bytes());
    all.extend_from_slice(payload);
    all.push(FRAME_END);
    all
}

fn method_frame(channel: u16, AmqpMethod(class, number): AmqpMethod, arguments: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(4 + arguments.len());
    payload.extend_from_slice(&class.to_be_bytes());
    payload.extend_from_slice(&number.to_be_bytes());
    payload.extend_from_slice(arguments);
    amqp_frame(METHOD, channel, &payload)
}

/// A text of at most 255 bytes.
fn short_text(e: &mut Vec<u8>, text: &str) -> Result<(), LoadError> {
    let length = u8::try_from(text.len());
    e.push(length.map_err(|_| LoadError::Unexpected("a name has more than 255 bytes"))?);
    e.extend_from_slice(text.as_bytes());
    Ok(())
}

fn long_text(e: &mut Vec<u8>, text: &[u8]) {
    e.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    e.extend_from_slice(text);
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum AmqpFrame {
    Confirmed(Confirmed),
    /// A message is lost.
    Lost,
    Alive,
    /// Any other method, with its arguments.
    Method(AmqpMethod, Vec<u8>),
}

/// The first frame.
fn parse_amqp_frame(bytes: &[u8]) -> Result<Option<(AmqpFrame, usize)>, LoadError> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(LoadError::Unexpected("a frame is longer than was agreed"));
    }
    let (Some(payload), Some(end)) = (rest.get(..length), rest.get(length)) else {
        return Ok(None);
    };
    if *end != FRAME_END {
        return Err(LoadError::Unexpected("a frame has no end"));
    }
    let told = match head[0] {
        METHOD => parse_method(payload)?,
        HEARTBEAT => AmqpFrame::Alive,
        _ => return Err(LoadError::Unexpected("a frame is no method")),
    };
    Ok(Some((told, FRAME_HEAD_BYTES + length + 1)))
}

fn parse_method(payload: &[u8]) -> Result<AmqpFrame, LoadError> {
    let mut rest = payload;
    let class = u16::from_be_bytes(take_bytes(&mut rest)?);
    let called = AmqpMethod(class, u16::from_be_bytes(take_bytes(&mut rest)?));
    match called {
        NACK => Ok(AmqpFrame::Lost),
        ACK => {
            let number = u64::from_be_bytes(take_bytes(&mut rest)?);
            let [bits] = take_bytes(&mut rest)?;
            let one = bits & 1 == 0;
            Ok(AmqpFrame::Confirmed(if one {
                Confirmed::One(number)
            } else {
                Confirmed::UpTo(number)
            }))
        }
        CLOSE | CHANNEL_CLOSE => {
            let code = u64::from(u16::from_be_bytes(take_bytes(&mut rest)?));
            let text = take_short_text(&mut rest)?;
            Err(LoadError::Told { code, text: String::from_utf8_lossy(text).into_owned() })
        }
        _ => Ok(AmqpFrame::Method(called, rest.to_vec())),
    }
}

const TOO_SHORT: LoadError = LoadError::Unexpected("a method is too short");

fn take_bytes<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], LoadError> {
    let (taken, left) = rest.split_first_chunk().ok_or(TOO_SHORT)?;
    *rest = left;
    Ok(*taken)
}

fn take_short_text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], LoadError> {
    let [length] = take_bytes(rest)?;
    let (taken, left) = rest.split_at_checked(usize::from(length)).ok_or(TOO_SHORT)?;
    *rest = left;
    Ok(taken)
}

/// A connection with one channel.
struct AmqpServer(LoadStream);

impl AmqpServer {
    fn open(port: u16) -> Result<Self, LoadError> {
        let mut server = Self(LoadStream::open(port)?);
        server.0.send(GREETING)?;
        server.answer(START)?;
        let mut start_ok = Vec::new();
        long_text(&mut start_ok, b"");
        short_text(&mut start_ok, "PLAIN")?;
        long_text(&mut start_ok, b"\0guest\0guest");
        short_text(&mut start_ok, "en_US")?;
        server.0.send(&method_frame(0, START_OK, &start_ok))?;
        let tune = server.answer(TUNE)?;
        let mut rest = &tune[..];
        let _channels = u16::from_be_bytes(take_bytes(&mut rest)?);
        let longest = u32::from_be_bytes(take_bytes(&mut rest)?) as usize;
        // None is no limit.
        if longest != 0 && longest < FRAME_BYTES_MAX {
            return Err(LoadError::Unexpected("the server takes short frames only"));
        }
        let mut tune_ok = Vec::new();
        tune_ok.extend_from_slice(&1u16.to_be_bytes());
        tune_ok.extend_from_slice(&(FRAME_BYTES_MAX as u32).to_be_bytes());
        // No heartbeats: a server that is silent for too long is given up anyway.
        tune_ok.extend_from_slice(&0u16.to_be_bytes());
        server.0.send(&method_frame(0, TUNE_OK, &tune_ok))?;
        let mut host = Vec::new();
        short_text(&mut host, "/")?;
        host.extend_from_slice(&[0, 0]);
        server.0.send(&method_frame(0, OPEN, &host))?;
        server.answer(OPEN_OK)?;
        server.call(CHANNEL_OPEN, &[0], CHANNEL_OPEN_OK)?;
        Ok(server)
    }

    /// Calls a method on the channel; the arguments of its answer.
    fn call(
        &mut self,
        called: AmqpMethod,
        arguments: &[u8],
        answer: AmqpMethod,
    ) -> Result<Vec<u8>, LoadError> {
        self.0.send(&method_frame(1, called, arguments))?;
        self.answer(answer)
    }

    fn answer(&mut self, wanted: AmqpMethod) -> Result<Vec<u8>, LoadError> {
        loop {
            match self.0.next(parse_amqp_frame)? {
                AmqpFrame::Alive => {}
                AmqpFrame::Method(it, arguments) if it == wanted => return Ok(arguments),
                _ => return Err(LoadError::Unexpected("the server answers something else")),
            }
        }
    }

    /// Makes a durable queue of a kind, or looks at one that is there; how many messages it has.
    fn declare(&mut self, queue: &str, kind: Option<QueueKind>) -> Result<u32, LoadError> {
        let arguments = queue_declaration(queue, kind)?;
        let told = self.call(DECLARE, &arguments, DECLARE_OK)?;
        let mut rest = &told[..];
        take_short_text(&mut rest)?;
        Ok(u32::from_be_bytes(take_bytes(&mut rest)?))
    }
}

/// The arguments of a queue's declaration: passive without a kind.
fn queue_declaration(queue: &str, kind: Option<QueueKind>) -> Result<Vec<u8>, LoadError> {
    const PASSIVE: u8 = 1;
    const DURABLE: u8 = 2;
    let mut table = Vec::new();
    match kind {
        None | Some(QueueKind::Classic) => {}
        Some(QueueKind::Classic2) => {
            short_text(&mut table, "x-queue-version")?;
            table.push(b'I');
            table.extend_from_slice(&2i32.to_be_bytes());
        }
        Some(QueueKind::Quorum) => {
            short_text(&mut table, "x-queue-type")?;
            table.push(b'S');
            long_text(&mut table, b"quorum");
        }
    }
    let mut all = vec![0; 2];
    short_text(&mut all, queue)?;
    all.push(if kind.is_none() { PASSIVE } else { DURABLE });
    long_text(&mut all, &table);
    Ok(all)
}

impl LoadPeer for AmqpServer {
    type Told = AmqpFrame;

    const PARSE: Parse<AmqpFrame> = parse_amqp_frame;

    fn stream(&mut self) -> &mut LoadStream {
        &mut self.0
    }

    fn confirms(&mut self, told: AmqpFrame) -> Result<Option<Confirmed>, LoadError> {
        match told {
            AmqpFrame::Alive => Ok(None),
            AmqpFrame::Confirmed(confirmed) => Ok(Some(confirmed)),
            AmqpFrame::Lost => Err(LoadError::Unexpected("the server lost a message")),
            AmqpFrame::Method(..) => Err(LoadError::Unexpected("the server says something else")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::fake::{Script, play};

    // The frames below are written by hand from the protocol's definition.
    const START: &[u8] =
        b"\x01\0\0\0\0\0\x1c\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US\xce";
    const START_OK: &[u8] =
        b"\x01\0\0\0\0\0\x24\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US\xce";
    const TUNE: &[u8] = b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c\xce";
    const TUNE_OK: &[u8] = b"\x01\0\0\0\0\0\x0c\0\x0a\0\x1f\0\x01\0\x02\0\0\0\0\xce";
    const OPEN: &[u8] = b"\x01\0\0\0\0\0\x08\0\x0a\0\x28\x01/\0\0\xce";
    const OPEN_OK: &[u8] = b"\x01\0\0\0\0\0\x05\0\x0a\0\x29\0\xce";
    const CHANNEL_OPEN: &[u8] = b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce";
    const CHANNEL_OPEN_OK: &[u8] = b"\x01\0\x01\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce";
    const DECLARE: &[u8] = b"\x01\0\x01\0\0\0\x24\0\x32\0\x0a\0\0\x03t-0\x02\0\0\0\x15\x0fx-queue-versionI\0\0\0\x02\xce";
    const LOOK: &[u8] = b"\x01\0\x01\0\0\0\x0f\0\x32\0\x0a\0\0\x03t-0\x01\0\0\0\0\xce";
    const DECLARE_OK: &[u8] = b"\x01\0\x01\0\0\0\x10\0\x32\0\x0b\x03t-0\0\0\0\x07\0\0\0\0\xce";
    const SELECT: &[u8] = b"\x01\0\x01\0\0\0\x05\0\x55\0\x0a\0\xce";
    const SELECT_OK: &[u8] = b"\x01\0\x01\0\0\0\x04\0\x55\0\x0b\xce";
    const MESSAGE: &[u8] = b"\x01\0\x01\0\0\0\x0c\0\x3c\0\x28\0\0\0\x03t-0\0\xce\
        \x02\0\x01\0\0\0\x0f\0\x3c\0\0\0\0\0\0\0\0\0\x02\x10\0\x02\xce\
        \x03\0\x01\0\0\0\x02xx\xce";
    const ALIVE: &[u8] = b"\x08\0\0\0\0\0\0\xce";

    fn ack(number: u8, multiple: u8) -> Vec<u8> {
        let mut all = b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\0".to_vec();
        all.extend([number, multiple, 0xce]);
        all
    }

    /// The frames up to where messages may go, and then more.
    fn script(more: &[(&[u8], &[u8])]) -> Script {
        let mut all = vec![
            (b"AMQP\0\0\x09\x01".to_vec(), START.to_vec()),
            // A sign of life may come at any time.
            (START_OK.to_vec(), [ALIVE, TUNE].concat()),
            ([TUNE_OK, OPEN].concat(), OPEN_OK.to_vec()),
            (CHANNEL_OPEN.to_vec(), CHANNEL_OPEN_OK.to_vec()),
        ];
        all.extend(more.iter().map(|(expected, said)| (expected.to_vec(), said.to_vec())));
        all
    }

    #[test]
    fn messages_go_out_as_the_protocol_has_it_and_are_confirmed() {
        let first = MESSAGE.repeat(3);
        let script = script(&[
            (DECLARE, DECLARE_OK),
            (SELECT, SELECT_OK),
            // Two of three are confirmed by one frame: there is room for the other two.
            (&first, &[&ack(2, 1)[..], ALIVE].concat()),
            (&MESSAGE.repeat(2), &[ack(4, 0), ack(3, 0), ack(5, 1)].concat()),
        ]);
        let told = play("rabbit --depth 3 --count 5 --record-bytes 2", script).unwrap();
        assert_eq!((&told["count"], &told["bytes"]), (&5.into(), &(MESSAGE.len() * 5).into()));
    }

    #[test]
    fn messages_are_counted_where_they_are() {
        let told = play("rabbit --ask", script(&[(LOOK, DECLARE_OK)])).unwrap();
        assert_eq!(told["messages"], 7);
    }

    #[test]
    fn what_is_not_confirmed_is_told() {
        const NACK: &[u8] = b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x78\0\0\0\0\0\0\0\x01\0\xce";
        const CLOSE: &[u8] = b"\x01\0\x01\0\0\0\x0f\0\x14\0\x28\x01\x94\x04GONE\0\x3c\0\x28\xce";
        const RETURNED: &[u8] = b"\x02\0\x01\0\0\0\0\xce";
        const NO_END: &[u8] = b"\x08\0\0\0\0\0\0\xcd";
        const LONG: &[u8] = b"\x01\0\x01\0\x02\0\x01";
        const SHORT: &[u8] = b"\x01\0\x01\0\0\0\x04\0\x3c\0\x50\xce";
        let cases = [
            (NACK, "the server lost a message"),
            (CLOSE, "the peer refuses with code 404: GONE"),
            (RETURNED, "a frame is no method"),
            (NO_END, "a frame has no end"),
            (LONG, "a frame is longer than was agreed"),
            (SHORT, "a method is too short"),
            (SELECT_OK, "the server says something else"),
            (&ack(2, 0), "a message is confirmed that is not under way"),
        ];
        for (said, why) in cases {
            let script = script(&[(DECLARE, DECLARE_OK), (SELECT, SELECT_OK), (MESSAGE, said)]);
            let told = play("rabbit --count 2 --record-bytes 2", script);
            assert_eq!(told.unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn a_long_message_goes_in_frames_as_long_as_was_agreed() {
        let all = message_frames("q", FRAME_BYTES_MAX).unwrap();
        let head = message_frames("q", 0).unwrap().len();
        let mut at = head;
        let mut found = Vec::new();
        while at < all.len() {
            assert_eq!(all[at], BODY);
            let length = u32::from_be_bytes(all[at + 3..at + 7].try_into().unwrap()) as usize;
            found.push(FRAME_HEAD_BYTES + length + 1);
            at += FRAME_HEAD_BYTES + length + 1;
            assert_eq!(all[at - 1], FRAME_END);
        }
        assert_eq!(found, [FRAME_BYTES_MAX, 16]);
    }
}
