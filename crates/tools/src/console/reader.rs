//! Records of lines: headers, key and value, as Kafka's LineMessageReader reads them.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_client::ProducerRecord;
use regex::Regex;

use super::{is_on, java};

/// Names and values beside a record.
type HeaderList = Vec<(Bytes, Option<Bytes>)>;

/// How lines are read.
pub struct LineReader {
    parses_key: bool,
    parses_headers: bool,
    key_separator: String,
    headers_delimiter: String,
    /// A regular expression, as in Kafka's.
    headers_separator: Regex,
    headers_key_separator: String,
    null_marker: Option<String>,
    ignores_errors: bool,
}

impl LineReader {
    /// A reader with these settings.
    ///
    /// # Errors
    /// Two of the marks are the same, or a separator is not a regular expression.
    pub fn new(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |name: &str, or: &str| settings.get(name).map_or(or, String::as_str).to_owned();
        let key_separator = text("key.separator", "\t");
        let headers_delimiter = text("headers.delimiter", "\t");
        let separator = text("headers.separator", ",");
        let headers_key_separator = text("headers.key.separator", ":");
        let null_marker = settings.get("null.marker").cloned();
        let headers = [
            ("headers.delimiter", &headers_delimiter),
            ("headers.separator", &separator),
            ("headers.key.separator", &headers_key_separator),
        ];
        for (at, (name, mark)) in headers.iter().enumerate() {
            for (other, its) in &headers[at + 1..] {
                if mark == its {
                    return Err(format!("{name} and {other} may not be equal"));
                }
            }
        }
        let all = [("key.separator", &key_separator)].into_iter().chain(headers);
        for (name, mark) in all {
            if null_marker.as_ref() == Some(mark) {
                return Err(format!("null.marker and {name} may not be equal"));
            }
        }
        let headers_separator = Regex::new(&separator).map_err(|error| {
            format!("headers.separator={separator} is not a regular expression: {error}")
        })?;
        Ok(Self {
            parses_key: is_on(settings, "parse.key"),
            parses_headers: is_on(settings, "parse.headers"),
            key_separator,
            headers_delimiter,
            headers_separator,
            headers_key_separator,
            null_marker,
            ignores_errors: is_on(settings, "ignore.error"),
        })
    }

    /// A record from a line: headers, key and value, as far as they are asked for.
    ///
    /// # Errors
    /// The line lacks what it should have.
    pub fn read(&self, line: &[u8], number: usize) -> Result<ProducerRecord, String> {
        let line = &*java::text(line);
        let mut rest = line;
        let mut message = ProducerRecord::default();
        let missing = |what: &str| format!("No {what} found on line number {number}: '{line}'");
        if self.parses_headers {
            match rest.split_once(&*self.headers_delimiter) {
                Some((headers, more)) => {
                    if !self.is_null(headers) {
                        message.headers = self.headers(headers, number)?;
                    }
                    rest = more;
                }
                None if self.ignores_errors => {}
                None => return Err(missing("headers delimiter")),
            }
        }
        if self.parses_key {
            match rest.split_once(&*self.key_separator) {
                Some((key, more)) => {
                    message.key = self.value(key);
                    rest = more;
                }
                None if self.ignores_errors => {}
                None => return Err(missing("key separator")),
            }
        }
        message.value = self.value(rest);
        Ok(message)
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_marker.as_deref() == Some(text)
    }

    fn value(&self, text: &str) -> Option<Bytes> {
        (!self.is_null(text)).then(|| Bytes::from(text.to_owned()))
    }

    fn headers(&self, text: &str, number: usize) -> Result<HeaderList, String> {
        let one = |pair: &str| {
            let Some((key, value)) = pair.split_once(&*self.headers_key_separator) else {
                if self.ignores_errors {
                    return Ok((Bytes::from(pair.to_owned()), None));
                }
                return Err(format!(
                    "No header key separator found in pair '{pair}' on line number {number}"
                ));
            };
            if self.is_null(key) {
                return Err(format!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                ));
            }
            Ok((Bytes::from(key.to_owned()), self.value(value)))
        };
        java::split(&self.headers_separator, text).into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(';').filter_map(|it| it.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A record for reading: `key=value {header=value}`, `-` for null.
    fn shown(message: &ProducerRecord) -> String {
        let text = |part: Option<&Bytes>| {
            part.map_or_else(|| "-".to_owned(), |it| String::from_utf8_lossy(it).into_owned())
        };
        let headers = message.headers.iter();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{}={}", text(Some(name)), text(value.as_ref())))
            .collect();
        let (key, value) = (text(message.key.as_ref()), text(message.value.as_ref()));
        format!("{key}={value} {{{}}}", headers.join(" "))
    }

    #[test]
    fn lines_become_records() {
        let all = "parse.key=True ;parse.headers=TRUE;null.marker=NUL";
        // Settings, line, record; what Apache Kafka 4.3.1 makes of them.
        for (more, line, right) in [
            ("", "h1:v1,h2:NUL\tk\tv", "k=v {h1=v1 h2=-}"),
            ("", "NUL\tNUL\tNUL", "-=- {}"),
            ("", "h:a:b\tk\tv\tw", "k=v\tw {h=a:b}"),
            ("", "h:1,\tk\t", "k= {h=1}"),
            ("", ",\tk\tv", "k=v {}"),
            ("", ":\t\t", "= {=}"),
            ("headers.separator=[,/]", "a:1/b:2\tk\tv", "k=v {a=1 b=2}"),
            ("headers.separator=|", "a:\tk\tv", ""),
            ("ignore.error=true", "a:b,c\tk\tv", "k=v {a=b c=-}"),
            ("ignore.error=true", "no mark", "-=no mark {}"),
            ("ignore.error=true", "\tk\tv", "k=v {=-}"),
            ("null.marker=", "\t\tv", "-=v {}"),
            ("key.separator=", "a:1\tv", "=v {a=1}"),
            ("headers.delimiter=|;key.separator=::", "a:1|k::v", "k=v {a=1}"),
        ] {
            let reader = LineReader::new(&settings(&format!("{all};{more}"))).unwrap();
            match reader.read(line.as_bytes(), 1) {
                Ok(message) => assert_eq!(shown(&message), right, "{more} {line:?}"),
                Err(why) => assert_eq!(right, "", "{more} {line:?}: {why}"),
            }
        }
        let plain = LineReader::new(&settings("parse.key=yes")).unwrap();
        assert_eq!(shown(&plain.read(b"a\tb\xff", 1).unwrap()), "-=a\tb\u{fffd} {}");
    }

    #[test]
    fn what_a_line_lacks_is_said_with_its_number() {
        let all = "parse.key=true;parse.headers=true;null.marker=NUL";
        for (line, right) in [
            ("", "No headers delimiter found on line number 7: ''"),
            ("h:1\tx", "No key separator found on line number 7: 'h:1\tx'"),
            ("\tk\tv", "No header key separator found in pair '' on line number 7"),
            ("a:1,,b:2\tk\tv", "No header key separator found in pair '' on line number 7"),
            (
                "NUL:v\tk\tv",
                "Header keys should not be equal to the null marker 'NUL' as they can't be null",
            ),
        ] {
            let reader = LineReader::new(&settings(all)).unwrap();
            assert_eq!(reader.read(line.as_bytes(), 7).unwrap_err(), right, "{line:?}");
        }
    }

    #[test]
    fn marks_that_are_the_same_are_refused() {
        for (text, right) in [
            ("headers.separator=\t", "headers.delimiter and headers.separator"),
            ("headers.delimiter=:", "headers.delimiter and headers.key.separator"),
            ("headers.separator=:", "headers.separator and headers.key.separator"),
            ("null.marker=\t", "null.marker and key.separator"),
            ("null.marker=,", "null.marker and headers.separator"),
            ("null.marker=|;headers.delimiter=|", "null.marker and headers.delimiter"),
            ("null.marker=:", "null.marker and headers.key.separator"),
        ] {
            let why = LineReader::new(&settings(text)).map(drop).unwrap_err();
            assert_eq!(why, format!("{right} may not be equal"), "{text:?}");
        }
        assert!(LineReader::new(&settings("headers.separator=[")).is_err());
        assert!(
            LineReader::new(&settings("key.separator=,")).is_ok(),
            "keys and headers may share"
        );
    }
}
