//! NATS JetStream: messages into streams of one replica in files, each acknowledged by the server.
//!
//! As much of the protocol as that needs: one subject a stream, one inbox a connection.

use serde_json::{Value, json};

use crate::measure::LoadReport;
use crate::window::{Confirmed, LoadPeer, LoadStream, MessageLoad, Parse};
use crate::wire::LoadError;

/// The longest line and the longest payload that are taken, in bytes.
const LINE_BYTES_MAX: usize = 16 << 10;
const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// Publishes messages to streams of NATS, each acknowledged; or says how many messages there are.
///
/// # Errors
/// The server refuses, or a connection breaks.
pub fn run_nats(load: &MessageLoad) -> Result<String, LoadError> {
    if load.ask {
        let mut messages = 0;
        for at in 0..load.target.connections {
            let place = load.place(at);
            let mut server = NatsServer::open(load.target.port, &place)?;
            let told = server.request(&format!("$JS.API.STREAM.INFO.{place}"), "")?;
            messages += told["state"]["messages"].as_u64().ok_or(NO_ANSWER)?;
        }
        return Ok(json!({ "messages": messages }).to_string());
    }
    let open = |at: i32| {
        let place = &load.place(at);
        let mut server = NatsServer::open(load.target.port, place)?;
        let config = json!({
            "name": place, "subjects": [place], "storage": "file", "num_replicas": 1,
            "retention": "limits", "discard": "old",
        });
        server.request(&format!("$JS.API.STREAM.CREATE.{place}"), &config.to_string())?;
        let frame = publish_frame(place, &server.inbox, &vec![b'x'; load.record_bytes]);
        Ok((server, frame))
    };
    load.run(open).map(|it: LoadReport| it.json().to_string())
}

const NO_ANSWER: LoadError = LoadError::Unexpected("the server's answer is none");

fn publish_frame(subject: &str, reply: &str, payload: &[u8]) -> Vec<u8> {
    let mut all = format!("PUB {subject} {reply} {}\r\n", payload.len()).into_bytes();
    all.extend_from_slice(payload);
    all.extend_from_slice(b"\r\n");
    all
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum NatsFrame {
    /// How it is, or that it has understood.
    Info,
    Ping,
    Pong,
    /// A message's payload.
    Message(Vec<u8>),
}

/// The first frame in the bytes.
fn parse_nats_frame(bytes: &[u8]) -> Result<Option<(NatsFrame, usize)>, LoadError> {
    let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") else {
        if bytes.len() > LINE_BYTES_MAX {
            return Err(LoadError::Unexpected("a line does not end"));
        }
        return Ok(None);
    };
    let after = end + 2;
    let line = &bytes[..end];
    let (verb, rest) = line.split_at(line.iter().position(|it| *it == b' ').unwrap_or(end));
    match verb {
        b"INFO" | b"+OK" => Ok(Some((NatsFrame::Info, after))),
        b"PING" => Ok(Some((NatsFrame::Ping, after))),
        b"PONG" => Ok(Some((NatsFrame::Pong, after))),
        b"MSG" => {
            let length = rest.rsplit(|it| *it == b' ').next().and_then(parse_digits);
            let length = length.and_then(|it| usize::try_from(it).ok());
            let length = length.ok_or(LoadError::Unexpected("a message has no length"))?;
            if length > PAYLOAD_BYTES_MAX {
                return Err(LoadError::Unexpected("a message is too long"));
            }
            match bytes.get(after..after + length + 2) {
                None => Ok(None),
                Some(all) => match all.strip_suffix(b"\r\n") {
                    None => Err(LoadError::Unexpected("a message does not end")),
                    Some(payload) => {
                        Ok(Some((NatsFrame::Message(payload.to_vec()), after + length + 2)))
                    }
                },
            }
        }
        b"-ERR" => {
            let text = String::from_utf8_lossy(rest).trim().to_owned();
            Err(LoadError::Told { code: 0, text })
        }
        _ => Err(LoadError::Unexpected("a line begins with no known word")),
    }
}

/// A number of decimal digits only.
fn parse_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |all, it| it.is_ascii_digit().then(|| all * 10 + u64::from(it - b'0')))
}

/// The number of a message in its stream, by the answer to it.
fn message_sequence(payload: &[u8], stream: &str) -> Result<u64, LoadError> {
    // All answers look so; reading them as JSON would cost the server a part of the machine.
    let plain = payload
        .strip_prefix(b"{\"stream\":\"")
        .and_then(|it| it.strip_prefix(stream.as_bytes()))
        .and_then(|it| it.strip_prefix(b"\", \"seq\":"))
        .and_then(|it| it.strip_suffix(b"}"))
        .and_then(parse_digits);
    if let Some(plain) = plain {
        return Ok(plain);
    }
    let told = parse_answer(payload)?;
    if told["stream"] != *stream || told["duplicate"] == true {
        return Err(LoadError::Unexpected("a message is not in its stream"));
    }
    told["seq"].as_u64().ok_or(NO_ANSWER)
}

/// An answer of JetStream's, which may be an error.
fn parse_answer(payload: &[u8]) -> Result<Value, LoadError> {
    let told: Value = serde_json::from_slice(payload).map_err(|_| NO_ANSWER)?;
    if let Some(error) = told.get("error") {
        let code = error["err_code"].as_u64().or_else(|| error["code"].as_u64()).unwrap_or(0);
        let text = error["description"].as_str().unwrap_or_default().to_owned();
        return Err(LoadError::Told { code, text });
    }
    Ok(told)
}

/// A connection that listens at an inbox of its own.
struct NatsServer {
    stream: LoadStream,
    place: String,
    inbox: String,
    /// The number in the stream of the first message that was sent.
    first: Option<u64>,
    /// How many messages have been acknowledged.
    count: u64,
}

impl NatsServer {
    fn open(port: u16, place: &str) -> Result<Self, LoadError> {
        let inbox = format!("_INBOX.{place}");
        let stream = LoadStream::open(port)?;
        let mut server = Self { stream, place: place.to_owned(), inbox, first: None, count: 0 };
        let options = json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": "0", "protocol": 1,
        });
        let hello = format!("CONNECT {options}\r\nSUB {} 1\r\nPING\r\n", server.inbox);
        server.stream.send(hello.as_bytes())?;
        while server.stream.next(parse_nats_frame)? != NatsFrame::Pong {}
        Ok(server)
    }

    /// Asks JetStream.
    fn request(&mut self, subject: &str, payload: &str) -> Result<Value, LoadError> {
        self.stream.send(&publish_frame(subject, &self.inbox, payload.as_bytes()))?;
        loop {
            let told = self.stream.next(parse_nats_frame)?;
            if let Some(payload) = self.message(told)? {
                return parse_answer(&payload);
            }
        }
    }

    /// The payload of a message; other things are seen to.
    fn message(&mut self, told: NatsFrame) -> Result<Option<Vec<u8>>, LoadError> {
        match told {
            NatsFrame::Message(payload) => return Ok(Some(payload)),
            NatsFrame::Ping => self.stream.send(b"PONG\r\n")?,
            NatsFrame::Info | NatsFrame::Pong => {}
        }
        Ok(None)
    }
}

impl LoadPeer for NatsServer {
    type Told = NatsFrame;

    const PARSE: Parse<NatsFrame> = parse_nats_frame;

    fn stream(&mut self) -> &mut LoadStream {
        &mut self.stream
    }

    fn confirms(&mut self, told: NatsFrame) -> Result<Option<Confirmed>, LoadError> {
        let Some(payload) = self.message(told)? else { return Ok(None) };
        let sequence = message_sequence(&payload, &self.place)?;
        // A stream that one connection writes to counts its messages one by one.
        let first = *self.first.get_or_insert(sequence);
        if sequence != first + self.count {
            return Err(LoadError::Unexpected("a message is out of order"));
        }
        self.count += 1;
        Ok(Some(Confirmed::One(self.count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::fake::{Script, play};

    const INFO: &str = "INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n";
    const MESSAGE: &str = "PUB t-0 _INBOX.t-0 2\r\nxx\r\n";

    fn script(rest: &[(&str, String)]) -> Script {
        // A client may wait for the server's information or not: both come in one.
        let hello = "CONNECT {\"lang\":\"rust\",\"pedantic\":false,\"protocol\":1,\
                     \"verbose\":false,\"version\":\"0\"}\r\nSUB _INBOX.t-0 1\r\nPING\r\n";
        let mut all = vec![(hello.into(), format!("{INFO}PONG\r\n").into_bytes())];
        all.extend(rest.iter().map(|(expected, said)| ((*expected).into(), said.clone().into())));
        all
    }

    fn told(payload: &str) -> String {
        format!("MSG _INBOX.t-0 1 {}\r\n{payload}\r\n", payload.len())
    }

    fn ack(number: u64) -> String {
        told(&format!("{{\"stream\":\"t-0\", \"seq\":{number}}}"))
    }

    const CREATE: &str = "PUB $JS.API.STREAM.CREATE.t-0 _INBOX.t-0 104\r\n\
        {\"discard\":\"old\",\"name\":\"t-0\",\"num_replicas\":1,\"retention\":\"limits\",\
        \"storage\":\"file\",\"subjects\":[\"t-0\"]}\r\n";

    #[test]
    fn messages_go_out_as_the_protocol_has_it_and_are_acknowledged() {
        let created = told("{\"type\":\"stream_create_response\",\"did_create\":true}");
        // The stream has messages already. One answer looks different and means the same.
        let other = told("{\"seq\": 9, \"stream\": \"t-0\", \"domain\": \"d\"}");
        let script = script(&[
            (CREATE, created),
            (&MESSAGE.repeat(2), ack(8)),
            (MESSAGE, format!("PING\r\n{other}{}", ack(10))),
            ("PONG\r\n", String::new()),
        ]);
        let told = play("nats --depth 2 --count 3 --record-bytes 2", script).unwrap();
        assert_eq!((&told["count"], &told["bytes"]), (&3.into(), &(MESSAGE.len() * 3).into()));
    }

    #[test]
    fn messages_are_counted_where_they_are() {
        let asked = "PUB $JS.API.STREAM.INFO.t-0 _INBOX.t-0 0\r\n\r\n";
        let script = script(&[(asked, told("{\"state\":{\"messages\":12}}"))]);
        assert_eq!(play("nats --ask", script).unwrap()["messages"], 12);
    }

    #[test]
    fn what_is_not_acknowledged_is_told() {
        let error = "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"no room\"}}";
        let elsewhere = "{\"stream\":\"t-1\",\"seq\":1}";
        let cases = [
            (told(error), "the peer refuses with code 10077: no room"),
            (told(elsewhere), "a message is not in its stream"),
            (told("{}x"), "the server's answer is none"),
            (ack(1) + &ack(3), "a message is out of order"),
            (ack(1) + &ack(2), "a message is confirmed that is not under way"),
            ("-ERR 'Slow'\r\n".to_owned(), "the peer refuses with code 0: 'Slow'"),
            ("HMSG x 1 2 3\r\n".to_owned(), "a line begins with no known word"),
            ("MSG _INBOX.t-0 1 65537\r\n".to_owned(), "a message is too long"),
            ("MSG _INBOX.t-0 1 -1\r\n".to_owned(), "a message has no length"),
            ("MSG _INBOX.t-0 1 2\r\nabcd".to_owned(), "a message does not end"),
            ("x".repeat(LINE_BYTES_MAX + 1), "a line does not end"),
        ];
        for (said, why) in cases {
            let script = script(&[(CREATE, told("{}")), (MESSAGE, said)]);
            let told = play("nats --count 3 --record-bytes 2", script);
            assert_eq!(told.unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn a_half_of_a_thing_waits_for_the_other() {
        let whole = format!("{}PING\r\n", ack(1));
        let first = whole.len() - "PING\r\n".len();
        for length in 0..first {
            assert_eq!(parse_nats_frame(&whole.as_bytes()[..length]).unwrap(), None, "{length}");
        }
        let (message, took) = parse_nats_frame(whole.as_bytes()).unwrap().unwrap();
        assert!(matches!(message, NatsFrame::Message(_)));
        assert_eq!(took, first);
        assert_eq!(
            parse_nats_frame(&whole.as_bytes()[took..]).unwrap(),
            Some((NatsFrame::Ping, 6))
        );
    }
}
