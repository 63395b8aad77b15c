//! What is on the way between hosts, and what has arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla_clock::SimulatedTime;
use tokio::io::ReadBuf;

use crate::random::Dice;

/// How links behave.
#[derive(Clone, Copy, Debug)]
pub struct StreamWeather {
    /// The shortest and the longest usual delay, in microseconds.
    pub delay_us: (u64, u64),
    /// How many of 1000 pieces are late, by up to `late_us` more.
    pub late: u64,
    /// See `late`.
    pub late_us: u64,
    /// How many bytes travel in one piece.
    pub piece_bytes_max: usize,
    /// How many bytes may be on the way or wait to be read, in one direction of a connection.
    pub window_bytes: usize,
}

impl StreamWeather {
    /// A quiet data centre.
    pub const FAIR: Self = Self {
        delay_us: (20, 200),
        late: 0,
        late_us: 0,
        piece_bytes_max: 64 << 10,
        window_bytes: 256 << 10,
    };

    /// Some mixture of faults.
    pub fn draw(dice: &mut Dice) -> Self {
        let piece = [64 << 10, 8 << 10, 1 << 10, 100];
        let window = [256 << 10, 32 << 10, 4 << 10];
        Self {
            delay_us: (20, dice.between(50, 20_000)),
            late: if dice.chance(500) { dice.below(100) } else { 0 },
            late_us: dice.between(1_000, 3_000_000),
            piece_bytes_max: piece[dice.index(piece.len())],
            window_bytes: window[dice.index(window.len())],
        }
    }
}

/// What has happened on a network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkCounts {
    /// Connections that were made.
    pub connections: u64,
    /// Connections that broke: reset by a fault, a crash or a dead peer.
    pub resets: u64,
    /// Pieces of data that arrived.
    pub pieces: u64,
    /// Pieces that met a cut link, and waited.
    pub held: u64,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SideId {
    connection: u64,
    /// 0 has dialled, 1 has accepted.
    end: u8,
}

impl SideId {
    const fn other(self) -> Self {
        Self { connection: self.connection, end: 1 - self.end }
    }
}

/// Something on its way to a side.
#[derive(Debug)]
enum Event {
    /// The opening of a connection reaches the listener.
    Dialled(SideId, SocketAddr),
    /// The side that has dialled learns that the connection is open.
    Accepted(SideId),
    Refused(SideId),
    /// The next piece of data arrives.
    Data(SideId, Bytes),
    /// No more data comes.
    Finished(SideId),
    Reset(SideId),
}

impl Event {
    const fn side(&self) -> SideId {
        match self {
            Self::Dialled(side, _)
            | Self::Accepted(side)
            | Self::Refused(side)
            | Self::Data(side, _)
            | Self::Finished(side)
            | Self::Reset(side) => *side,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkStage {
    Dialling,
    Standing,
    Refused,
}

#[derive(Debug)]
struct Side {
    host: IpAddr,
    stage: LinkStage,
    /// Does a process have it? When not, what arrives is answered by a reset.
    is_held: bool,
    /// Has the side closed its direction?
    has_finished: bool,
    inbox: VecDeque<Bytes>,
    inbox_bytes: usize,
    /// Bytes on the way to it.
    coming_bytes: usize,
    is_over: bool,
    is_reset: bool,
    /// When what was sent to it last arrives.
    last_arrival: Duration,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Side {
    const fn new(host: IpAddr) -> Self {
        Self {
            host,
            stage: LinkStage::Dialling,
            is_held: true,
            has_finished: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            coming_bytes: 0,
            is_over: false,
            is_reset: false,
            last_arrival: Duration::ZERO,
            reader: None,
            writer: None,
        }
    }
}

#[derive(Debug, Default)]
struct Listening {
    waiting: VecDeque<(SideId, SocketAddr)>,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub struct NetworkState {
    time: SimulatedTime,
    dice: Dice,
    pub weather: StreamWeather,
    pub counts: NetworkCounts,
    events: BTreeMap<(Duration, u64), Event>,
    events_made: u64,
    sides: BTreeMap<SideId, Side>,
    listening: BTreeMap<SocketAddr, Listening>,
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    dark: BTreeSet<IpAddr>,
    /// What met a cut link or a dark host, in the order in which it would have arrived.
    held: Vec<Event>,
    wakes: Vec<Waker>,
    has_news: bool,
}

/// The client's port of every connection; the port does not identify a connection.
const DIALLING_PORT: u16 = 40_000;

impl NetworkState {
    pub fn new(time: SimulatedTime, dice: Dice, weather: StreamWeather) -> Self {
        Self {
            time,
            dice,
            weather,
            counts: NetworkCounts::default(),
            events: BTreeMap::new(),
            events_made: 0,
            sides: BTreeMap::new(),
            listening: BTreeMap::new(),
            cuts: BTreeSet::new(),
            dark: BTreeSet::new(),
            held: Vec::new(),
            wakes: Vec::new(),
            has_news: false,
        }
    }

    /// Whom to wake, and whether events were added, since the last call.
    pub fn take_wakes(&mut self) -> (Vec<Waker>, bool) {
        (std::mem::take(&mut self.wakes), std::mem::take(&mut self.has_news))
    }

    fn delay(&mut self) -> Duration {
        let StreamWeather { delay_us: (low, high), late, late_us, .. } = self.weather;
        let more = if self.dice.chance(late) { self.dice.below(late_us + 1) } else { 0 };
        Duration::from_micros(self.dice.between(low, high) + more)
    }

    /// Sends something to a side, behind what was sent to it before.
    fn send(&mut self, event: Event) {
        let now = self.time.now();
        let arrival = now + self.delay();
        if let Some(side) = self.sides.get_mut(&event.side()) {
            side.last_arrival = arrival.max(side.last_arrival);
            let arrival = side.last_arrival;
            self.schedule(arrival, event);
        }
    }

    fn schedule(&mut self, arrival: Duration, event: Event) {
        self.events_made += 1;
        self.events.insert((arrival, self.events_made), event);
        self.has_news = true;
    }

    /// Lets what is due arrive; says when the next event is.
    pub fn deliver_due(&mut self) -> Option<Duration> {
        let now = self.time.now();
        while let Some(first) = self.events.first_entry() {
            if first.key().0 > now {
                return Some(first.key().0);
            }
            let event = first.remove();
            self.deliver(event);
        }
        None
    }

    fn deliver(&mut self, event: Event) {
        let id = event.side();
        let (Some(side), Some(other)) = (self.sides.get(&id), self.sides.get(&id.other())) else {
            return;
        };
        let is_cut = self.cuts.contains(&(other.host, side.host));
        if is_cut || self.dark.contains(&side.host) {
            self.counts.held += 1;
            // A reset is sent once; all else is sent again until it arrives.
            if !matches!(event, Event::Reset(_)) {
                self.held.push(event);
            }
            return;
        }
        match event {
            Event::Dialled(id, address) => self.dialled(id, address),
            Event::Accepted(id) => self.settle(id, LinkStage::Standing),
            Event::Refused(id) => self.settle(id, LinkStage::Refused),
            Event::Data(id, bytes) => self.arrive(id, bytes),
            Event::Finished(id) => {
                let side = self.side(id);
                side.is_over = true;
                let waker = side.reader.take();
                self.wakes.extend(waker);
                self.forget_if_gone(id);
            }
            Event::Reset(id) => self.reset(id),
        }
    }

    fn side(&mut self, id: SideId) -> &mut Side {
        self.sides.get_mut(&id).expect("both sides stay until both are closed")
    }

    fn dialled(&mut self, id: SideId, address: SocketAddr) {
        let peer = SocketAddr::new(self.side(id.other()).host, DIALLING_PORT);
        let is_open = self.listening.contains_key(&address);
        if let Some(door) = self.listening.get_mut(&address) {
            door.waiting.push_back((id, peer));
            let waker = door.waker.take();
            self.wakes.extend(waker);
            self.counts.connections += 1;
        }
        let side = self.side(id);
        side.is_held = is_open;
        side.stage = if is_open { LinkStage::Standing } else { LinkStage::Refused };
        side.is_reset = !is_open;
        let dialler = id.other();
        self.send(if is_open { Event::Accepted(dialler) } else { Event::Refused(dialler) });
    }

    fn settle(&mut self, id: SideId, stage: LinkStage) {
        let side = self.side(id);
        side.stage = stage;
        side.is_reset |= stage == LinkStage::Refused;
        let wakers = [side.reader.take(), side.writer.take()];
        self.wakes.extend(wakers.into_iter().flatten());
    }

    fn arrive(&mut self, id: SideId, bytes: Bytes) {
        self.counts.pieces += 1;
        let side = self.side(id);
        side.coming_bytes -= bytes.len();
        if !side.is_held || side.is_reset {
            self.send(Event::Reset(id.other()));
            return;
        }
        side.inbox_bytes += bytes.len();
        side.inbox.push_back(bytes);
        let waker = side.reader.take();
        self.wakes.extend(waker);
    }

    fn reset(&mut self, id: SideId) {
        self.counts.resets += 1;
        let side = self.side(id);
        side.is_reset = true;
        side.inbox.clear();
        side.inbox_bytes = 0;
        self.settle(id, LinkStage::Standing);
        self.forget_if_gone(id);
    }

    /// Begins a connection.
    pub fn dial(&mut self, from: IpAddr, to: SocketAddr) -> SideId {
        self.events_made += 1;
        let id = SideId { connection: self.events_made, end: 0 };
        self.sides.insert(id, Side::new(from));
        self.sides.insert(id.other(), Side::new(to.ip()));
        self.send(Event::Dialled(id.other(), to));
        id
    }

    pub fn poll_connected(&mut self, id: SideId, waker: &Waker) -> Poll<io::Result<()>> {
        let side = self.side(id);
        match side.stage {
            LinkStage::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            _ if side.is_reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            LinkStage::Standing => Poll::Ready(Ok(())),
            LinkStage::Dialling => {
                side.reader = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    pub fn bind(&mut self, address: SocketAddr) -> io::Result<()> {
        if self.listening.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.listening.insert(address, Listening::default());
        Ok(())
    }

    pub fn unbind(&mut self, address: SocketAddr) {
        let gone = self.listening.remove(&address).unwrap_or_default();
        // They are not accepted any more.
        gone.waiting.into_iter().for_each(|(id, _)| self.close(id));
    }

    pub fn accept(&mut self, address: SocketAddr, waker: &Waker) -> Option<(SideId, SocketAddr)> {
        let door = self.listening.get_mut(&address)?;
        let next = door.waiting.pop_front();
        if next.is_none() {
            door.waker = Some(waker.clone());
        }
        next
    }

    pub fn poll_read(
        &mut self,
        id: SideId,
        waker: &Waker,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self.side(id);
        if side.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let Some(front) = side.inbox.front_mut() else {
            if side.is_over {
                return Poll::Ready(Ok(()));
            }
            side.reader = Some(waker.clone());
            return Poll::Pending;
        };
        let taken = front.len().min(buf.remaining());
        buf.put_slice(&front[..taken]);
        front.advance(taken);
        if front.is_empty() {
            side.inbox.pop_front();
        }
        side.inbox_bytes -= taken;
        let writer = self.side(id.other()).writer.take();
        self.wakes.extend(writer);
        Poll::Ready(Ok(()))
    }

    pub fn poll_write(
        &mut self,
        id: SideId,
        waker: &Waker,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let StreamWeather { piece_bytes_max, window_bytes, .. } = self.weather;
        let side = self.side(id);
        if side.is_reset || side.has_finished {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let there = self.side(id.other());
        let room = window_bytes.saturating_sub(there.inbox_bytes + there.coming_bytes);
        let taken = bytes.len().min(room).min(piece_bytes_max);
        if taken == 0 && !bytes.is_empty() {
            self.side(id).writer = Some(waker.clone());
            return Poll::Pending;
        }
        self.side(id.other()).coming_bytes += taken;
        self.send(Event::Data(id.other(), Bytes::copy_from_slice(&bytes[..taken])));
        Poll::Ready(Ok(taken))
    }

    /// The side sends no more.
    pub fn finish(&mut self, id: SideId) {
        let side = self.side(id);
        if !std::mem::replace(&mut side.has_finished, true) && !side.is_reset {
            self.send(Event::Finished(id.other()));
        }
    }

    /// The side is given up: by its process, or as that ends.
    pub fn close(&mut self, id: SideId) {
        let Some(side) = self.sides.get_mut(&id) else { return };
        side.is_held = false;
        (side.reader, side.writer) = (None, None);
        let has_unread = side.inbox_bytes > 0;
        if self.dark.contains(&side.host) {
            // Nothing leaves it. What is sent to it later is answered by a reset.
            (side.has_finished, side.is_reset) = (true, true);
        } else if has_unread && !side.is_reset {
            self.side(id).is_reset = true;
            self.send(Event::Reset(id.other()));
        } else {
            self.finish(id);
        }
        self.forget_if_gone(id);
    }

    /// Both sides stay until neither is held, and nothing is on the way.
    fn forget_if_gone(&mut self, id: SideId) {
        let ends = [id, id.other()];
        let is_gone = |side: &Side| !side.is_held && (side.is_over || side.is_reset);
        if ends.iter().all(|id| self.sides.get(id).is_none_or(is_gone)) {
            ends.iter().for_each(|id| drop(self.sides.remove(id)));
        }
    }

    pub fn cut(&mut self, from: IpAddr, to: IpAddr) {
        self.cuts.insert((from, to));
    }

    pub fn mend(&mut self) {
        self.cuts.clear();
        self.resend();
    }

    /// Lets what was held back arrive, before all that is still on the way; what meets a cut once
    /// more is held again.
    fn resend(&mut self) {
        for event in std::mem::take(&mut self.held) {
            self.deliver(event);
        }
    }

    pub fn break_some(&mut self) -> bool {
        let standing = |(_, side): &(&SideId, &Side)| {
            side.is_held && side.stage == LinkStage::Standing && !side.is_reset
        };
        let standing: Vec<SideId> = self.sides.iter().filter(standing).map(|(id, _)| *id).collect();
        if standing.is_empty() {
            return false;
        }
        let id = standing[self.dice.index(standing.len())];
        self.send(Event::Reset(id));
        if self.dice.chance(700) {
            self.send(Event::Reset(id.other()));
        }
        true
    }

    pub fn power_off(&mut self, host: IpAddr) {
        self.dark.insert(host);
    }

    pub fn power_on(&mut self, host: IpAddr) {
        self.dark.remove(&host);
        self.resend();
    }
}
