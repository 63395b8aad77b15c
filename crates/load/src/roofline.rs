//! The least that a log broker must do: how fast this machine lets one be.
//!
//! A frame is read, its batch's checksum checked, its offset stamped, the batch appended in one
//! call, and an answer sent; a fetch reads from the file and sends. There is no metadata, no index,
//! no recovery and no second thought: it is no broker, but the limit that one is measured against.
//! With a file `TOPIC.flush` beside its records, a topic's answers wait for the disk.
//! It understands what the other modes of this program send, and nothing else.

use ottla_locks::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use ottla_records::{Batch, HEADER_BYTES};

use crate::wire::{LoadError, WireReader};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
/// The longest request that is taken, in bytes.
const REQUEST_BYTES_MAX: usize = 128 << 20;
/// How many bytes before the end stay in the page cache, and after how many that is checked.
const WINDOW_BYTES: u64 = 256 << 20;
const TRIM_EVERY_BYTES: u64 = 8 << 20;

/// Serves what the other modes ask, as fast as the machine allows.
#[derive(Args, Clone, Debug)]
pub struct Roofline {
    /// The port to listen on.
    #[arg(long)]
    port: u16,
    /// Where the records go.
    #[arg(long)]
    dir: PathBuf,
}

/// One partition: a file of batches.
struct FileLog {
    file: File,
    end: Mutex<FileLogEnd>,
    grown: Condvar,
    /// Up to which byte it survives a power cut, if answers wait for that.
    durable: Option<Mutex<u64>>,
}

impl FileLog {
    /// Returns when everything up to this byte is on the disk, if that is waited for.
    fn settle(&self, upto: u64) -> io::Result<()> {
        let Some(durable) = &self.durable else { return Ok(()) };
        let mut durable = durable.lock();
        if *durable < upto {
            // What others have appended meanwhile is flushed with it: they find it done.
            let all = self.end.lock().bytes;
            self.file.sync_data()?;
            *durable = all;
        }
        Ok(())
    }
}

/// Where a log ends, and where its batches begin.
#[derive(Default)]
struct FileLogEnd {
    offset: i64,
    bytes: u64,
    trimmed: u64,
    batches: Vec<(i64, u64)>,
}

type Logs = Mutex<BTreeMap<(Vec<u8>, i32), Arc<FileLog>>>;

impl Roofline {
    /// Serves until it is killed.
    ///
    /// # Errors
    /// The port is taken, or the directory cannot be written.
    pub fn run(&self) -> Result<String, LoadError> {
        std::fs::create_dir_all(&self.dir)?;
        let listener = TcpListener::bind(("127.0.0.1", self.port))?;
        println!("ready");
        accept_connections(&listener, &self.dir)?;
        Ok(String::new())
    }
}

fn accept_connections(listener: &TcpListener, dir: &Path) -> io::Result<()> {
    let logs = Arc::new(Logs::default());
    for stream in listener.incoming() {
        let (stream, logs, dir) = (stream?, Arc::clone(&logs), dir.to_owned());
        stream.set_nodelay(true)?;
        thread::spawn(move || {
            // The client has disconnected: it is done.
            let _ = serve_connection(stream, &logs, &dir);
        });
    }
    Ok(())
}

fn serve_connection(mut stream: TcpStream, logs: &Logs, dir: &Path) -> io::Result<()> {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > REQUEST_BYTES_MAX {
            return Err(io::Error::other("too long a request"));
        }
        request.resize(length, 0);
        stream.read_exact(&mut request)?;
        let mut d = WireReader(&request);
        let (key, _version, correlation) = (d.i16()?, d.i16()?, d.i32()?);
        d.text()?;
        answer.clear();
        answer.extend_from_slice(&[0; 4]);
        answer.extend_from_slice(&correlation.to_be_bytes());
        let records = match key {
            PRODUCE => serve_produce(&mut d, LogPlace { logs, dir }, &mut answer).map(|()| None)?,
            FETCH => serve_fetch(&mut d, LogPlace { logs, dir }, &mut answer).map(Some)?,
            other => return Err(io::Error::other(format!("API {other} is not served"))),
        };
        let more = records.as_ref().map_or(0, |(_, range)| range.end - range.start);
        let length = u32::try_from(answer.len() as u64 - 4 + more).unwrap_or(u32::MAX);
        answer[..4].copy_from_slice(&length.to_be_bytes());
        stream.write_all(&answer)?;
        if let Some((log, mut range)) = records {
            while range.start < range.end {
                let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                // It moves the start on by itself.
                if rustix::fs::sendfile(&stream, &log.file, Some(&mut range.start), left)? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
        }
    }
}

/// The logs, and the directory that they lie in.
#[derive(Clone, Copy)]
struct LogPlace<'a> {
    logs: &'a Logs,
    dir: &'a Path,
}

fn open_log(place: LogPlace<'_>, topic: &[u8], index: i32) -> io::Result<Arc<FileLog>> {
    let LogPlace { logs, dir } = place;
    let mut all = logs.lock();
    if let Some(log) = all.get(&(topic.to_vec(), index)) {
        return Ok(Arc::clone(log));
    }
    let name = String::from_utf8_lossy(topic);
    let path = dir.join(format!("{name}-{index}.log"));
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(true).open(path)?;
    let durable = dir.join(format!("{name}.flush")).exists().then(Mutex::default);
    let log = Arc::new(FileLog { file, end: Mutex::default(), grown: Condvar::new(), durable });
    all.insert((topic.to_vec(), index), Arc::clone(&log));
    Ok(log)
}

/// Produce, version 8, of one batch.
fn serve_produce(
    d: &mut WireReader<'_>,
    place: LogPlace<'_>,
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    d.text()?;
    let (_acks, _timeout, _topics) = (d.i16()?, d.i32()?, d.i32()?);
    let topic = d.text()?;
    let (_partitions, index) = (d.i32()?, d.i32()?);
    let records = d.blob()?;
    let batch = Batch::first(records).map_err(io::Error::other)?;
    if !batch.crc_is_right() {
        return Err(io::Error::other("a batch is broken"));
    }
    let count = i64::from(batch.record_count());
    let log = open_log(place, topic, index)?;
    let mut end = log.end.lock();
    let base = end.offset;
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&records[..HEADER_BYTES]);
    header[..8].copy_from_slice(&base.to_be_bytes());
    append_batch(&log.file, &header, &records[HEADER_BYTES..], end.bytes)?;
    let at = end.bytes;
    end.batches.push((base, at));
    end.offset += count;
    end.bytes += records.len() as u64;
    let (bytes, trimmed) = (end.bytes, end.trimmed);
    if bytes - trimmed >= TRIM_EVERY_BYTES {
        end.trimmed = bytes;
    }
    drop(end);
    log.settle(bytes)?;
    log.grown.notify_all();
    if bytes - trimmed >= TRIM_EVERY_BYTES {
        trim_cache(&log.file, trimmed, bytes);
    }
    answer.extend_from_slice(&1i32.to_be_bytes());
    answer.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(0).to_be_bytes());
    answer.extend_from_slice(topic);
    answer.extend_from_slice(&1i32.to_be_bytes());
    answer.extend_from_slice(&index.to_be_bytes());
    answer.extend_from_slice(&0i16.to_be_bytes());
    answer.extend_from_slice(&base.to_be_bytes());
    answer.extend_from_slice(&(-1i64).to_be_bytes());
    answer.extend_from_slice(&0i64.to_be_bytes());
    // No records are refused, there is no message, nothing is throttled.
    answer.extend_from_slice(&0i32.to_be_bytes());
    answer.extend_from_slice(&(-1i16).to_be_bytes());
    answer.extend_from_slice(&0i32.to_be_bytes());
    Ok(())
}

/// One call where it goes through at once.
fn append_batch(file: &File, header: &[u8], rest: &[u8], at: u64) -> io::Result<()> {
    let parts = [IoSlice::new(header), IoSlice::new(rest)];
    let written = rustix::io::pwritev(file, &parts, at)?;
    if written < header.len() {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    file.write_all_at(&rest[written - header.len()..], at + written as u64)
}

/// What is new goes to the disk early, what is behind the window leaves the cache.
fn trim_cache(file: &File, from: u64, end: u64) {
    use rustix::fs::{Advice, fadvise};
    let old = end.saturating_sub(WINDOW_BYTES);
    let again = old.saturating_sub(WINDOW_BYTES / 2);
    for (start, stop) in [(from, end), (again, old)] {
        if let Some(length) = std::num::NonZeroU64::new(stop - start) {
            // A hint: nothing depends on it.
            let _ = fadvise(file, start, Some(length), Advice::DontNeed);
        }
    }
}

/// Fetch, version 11, of one partition.
fn serve_fetch(
    d: &mut WireReader<'_>,
    place: LogPlace<'_>,
    answer: &mut Vec<u8>,
) -> io::Result<(Arc<FileLog>, Range<u64>)> {
    let (_replica, wait_ms, _least, _most) = (d.i32()?, d.i32()?, d.i32()?, d.i32()?);
    let (_isolation, _session, _epoch, _topics) = (d.take(1)?, d.i32()?, d.i32()?, d.i32()?);
    let topic = d.text()?;
    let (_partitions, index, _leader_epoch) = (d.i32()?, d.i32()?, d.i32()?);
    let (offset, _start, most) = (d.i64()?, d.i64()?, d.i32()?);
    let log = open_log(place, topic, index)?;
    let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
    let end = log.end.lock();
    let end = log.grown.wait_timeout_while(end, wait, |end| end.offset <= offset);
    let from = end.batches.partition_point(|(base, _)| *base <= offset).saturating_sub(1);
    let start = end.batches.get(from).map_or(0, |(_, at)| *at);
    let start = if offset >= end.offset { end.bytes } else { start };
    // Whole batches, and one at least.
    let limit = start + u64::try_from(most).unwrap_or(0);
    let upto = end.batches[from..].partition_point(|(_, at)| *at <= limit);
    let stop = if end.bytes <= limit { end.bytes } else { end.batches[from + upto - 1].1 };
    let next = end.batches.get(from + 1).map_or(end.bytes, |(_, at)| *at);
    let (stop, high) = (stop.max(next.min(end.bytes)).max(start), end.offset);
    drop(end);
    answer.extend_from_slice(&0i32.to_be_bytes());
    answer.extend_from_slice(&0i16.to_be_bytes());
    answer.extend_from_slice(&0i32.to_be_bytes());
    answer.extend_from_slice(&1i32.to_be_bytes());
    answer.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(0).to_be_bytes());
    answer.extend_from_slice(topic);
    answer.extend_from_slice(&1i32.to_be_bytes());
    answer.extend_from_slice(&index.to_be_bytes());
    answer.extend_from_slice(&0i16.to_be_bytes());
    answer.extend_from_slice(&high.to_be_bytes());
    answer.extend_from_slice(&high.to_be_bytes());
    answer.extend_from_slice(&0i64.to_be_bytes());
    // No aborted transactions, no preferred replica.
    answer.extend_from_slice(&(-1i32).to_be_bytes());
    answer.extend_from_slice(&(-1i32).to_be_bytes());
    answer.extend_from_slice(&u32::try_from(stop - start).unwrap_or(0).to_be_bytes());
    Ok((log, start..stop))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    struct Served {
        folder: TempDir,
        port: String,
    }

    impl Served {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let dir = folder.path().to_owned();
            thread::spawn(move || accept_connections(&listener, &dir));
            Self { folder, port }
        }

        /// How many requests and bytes that command reports.
        fn told(&self, line: &str) -> (u64, u64) {
            let words = ["ottla-load"].into_iter().chain(line.split(' '));
            let words = words.chain(["--port", &self.port, "--topic", "t"]);
            let told = crate::run_mode(crate::LoadArgs::parse_from(words).mode).unwrap();
            let told: serde_json::Value = serde_json::from_str(&told).unwrap();
            (told["count"].as_u64().unwrap(), told["bytes"].as_u64().unwrap())
        }

        /// The bytes of each log, by its name.
        fn stored(&self) -> Vec<(String, u64)> {
            let all = std::fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap());
            let one = |it: std::fs::DirEntry| (it.file_name(), it.metadata().unwrap().len());
            let mut all: Vec<_> =
                all.map(one).map(|(name, size)| (name.into_string().unwrap(), size)).collect();
            all.sort();
            all
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let served = Served::new();
        let (count, _) = served.told("produce --connections 2 --count 30 --records 10");
        assert_eq!(count, 60);
        let (_, all) = served.told("fetch --connections 2");
        let stored: u64 = served.stored().iter().map(|(_, size)| size).sum();
        assert_eq!(all, stored);
        // Answers of half a batch are whole batches all the same.
        assert_eq!(served.told("fetch --connections 2 --bytes-max 700"), (60, stored));
        // The other driver adds to what is there.
        let (count, _) = served.told("kafka --connections 2 --count 20 --depth 7 --records 3");
        assert_eq!(count, 40);
        assert_eq!(served.told("fetch --connections 2 --bytes-max 1").0, 100);
    }

    #[test]
    fn answers_wait_for_the_disk_where_they_are_told_to() {
        let served = Served::new();
        let place = LogPlace { logs: &Logs::default(), dir: served.folder.path() };
        assert!(open_log(place, b"t", 0).unwrap().durable.is_none());
        File::create(served.folder.path().join("t.flush")).unwrap();
        let (count, _) = served.told("produce --connections 4 --sharing 4 --count 10");
        assert_eq!(count, 40);
        let log = open_log(place, b"t", 1).unwrap();
        let durable = || *log.durable.as_ref().unwrap().lock();
        log.end.lock().bytes = 300;
        log.settle(100).unwrap();
        assert_eq!(durable(), 300);
        log.end.lock().bytes = 400;
        // This was flushed with the other.
        log.settle(300).unwrap();
        assert_eq!(durable(), 300);
    }

    #[test]
    fn partitions_are_taken_in_turn() {
        let served = Served::new();
        let (count, _) = served.told("produce --count 6 --partitions 4");
        let found = served.stored();
        let one = found[3].1;
        let wanted = [("t-0.log", 2), ("t-1.log", 2), ("t-2.log", 1), ("t-3.log", 1)];
        assert_eq!(count, 6);
        assert_eq!(found, wanted.map(|(name, batches)| (name.to_owned(), batches * one)));
    }
}
