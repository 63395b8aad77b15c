//! A network in memory between hosts, by seed: delays, links that are cut one way, connections that
//! break or are half open.
//!
//! A connection is a pair of sides. Bytes of one connection arrive in the order in which they were
//! sent; those of two connections do not wait for each other, so that what a client has sent on a
//! connection that it has given up may arrive after what it sends on the next, or be answered
//! twice. As with TCP, what meets a cut link arrives when the link is mended, and a reset is not
//! sent twice.

mod state;
mod stream;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ottla_clock::{Clock, ClockTraits, SimulatedTime};
use ottla_locks::Mutex;
use ottla_net::transport::{Connecting, Doorstep, MemoryStream, Network, Transport};
use tokio::sync::Notify;

use crate::random::Dice;
use state::NetworkState;
pub use state::{NetworkCounts, StreamWeather};
use stream::SideStream;

/// The network. Cheap to clone; every clone is the same network.
#[derive(Clone, Debug)]
pub struct SimNetwork(Arc<NetworkShared>);

#[derive(Debug)]
struct NetworkShared {
    state: Mutex<NetworkState>,
    /// There is an event that is due earlier than what was known.
    news: Notify,
    clock: Clock,
}

impl SimNetwork {
    /// A network without hosts.
    pub fn new(time: &SimulatedTime, dice: Dice, weather: StreamWeather) -> Self {
        let clock = Clock::simulated(time, ClockTraits { wall_ms: 0, drift_ppm: 0, seed: 0 });
        let state = Mutex::new(NetworkState::new(time.clone(), dice, weather));
        Self(Arc::new(NetworkShared { state, news: Notify::new(), clock }))
    }

    /// The way of a host to the network.
    pub fn transport(&self, host: IpAddr) -> Transport {
        Transport::Memory(Arc::new(self.host(host)))
    }

    /// A host.
    pub fn host(&self, host: IpAddr) -> SimHost {
        SimHost { network: self.clone(), host }
    }

    /// Delivers what was sent; does not return.
    pub async fn carry(&self) {
        loop {
            let next = self.with(NetworkState::deliver_due);
            tokio::select! {
                biased;
                () = self.0.news.notified() => {}
                () = async {
                    match next {
                        Some(at) => self.0.clock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }

    /// From now on links behave like this.
    pub fn set_weather(&self, weather: StreamWeather) {
        self.with(|state| state.weather = weather);
    }

    /// Cuts the link from one host to another, one way.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.with(|state| state.cut(from, to));
    }

    /// Mends every cut; what was held back arrives.
    pub fn mend(&self) {
        self.with(NetworkState::mend);
    }

    /// Breaks a connection, chosen by chance: both sides get the end of it, or only one. Was there
    /// one?
    pub fn break_some(&self) -> bool {
        self.with(NetworkState::break_some)
    }

    /// The host's power goes: nothing leaves it any more, and its peers do not notice.
    pub fn power_off(&self, host: IpAddr) {
        self.with(|state| state.power_off(host));
    }

    /// The host is back. Packets of former connections are answered with a reset.
    pub fn power_on(&self, host: IpAddr) {
        self.with(|state| state.power_on(host));
    }

    /// What has happened so far.
    pub fn counts(&self) -> NetworkCounts {
        self.with(|state| state.counts)
    }

    fn with<T>(&self, act: impl FnOnce(&mut NetworkState) -> T) -> T {
        let mut state = self.0.state.lock();
        let done = act(&mut state);
        let (wakes, has_news) = state.take_wakes();
        drop(state);
        // Not while the lock is held: what is woken may be dropped.
        wakes.into_iter().for_each(std::task::Waker::wake);
        if has_news {
            self.0.news.notify_one();
        }
        done
    }
}

/// A host on the network.
#[derive(Clone, Debug)]
pub struct SimHost {
    network: SimNetwork,
    host: IpAddr,
}

impl SimHost {
    /// Connects to an address.
    ///
    /// # Errors
    /// No node listens there, or the connection breaks before it is made.
    pub async fn dial(&self, to: SocketAddr) -> io::Result<MemoryStream> {
        let id = self.network.with(|state| state.dial(self.host, to));
        let stream = SideStream::new(self.network.clone(), id);
        stream.connected().await?;
        Ok(Box::new(stream))
    }
}

impl Network for SimHost {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Doorstep>> {
        let address = SocketAddr::new(self.host, address.port());
        self.network.with(|state| state.bind(address))?;
        Ok(Box::new(Door { network: self.network.clone(), address }))
    }

    fn connect(&self, address: &str) -> Connecting {
        let (host, address) = (self.clone(), address.parse());
        Box::pin(async move {
            let address = address.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            let dialled: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(host.dial(address));
            dialled.await
        })
    }
}

/// A bound address.
#[derive(Debug)]
struct Door {
    network: SimNetwork,
    address: SocketAddr,
}

impl Doorstep for Door {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(MemoryStream, SocketAddr)>> {
        let accepted = self.network.with(|state| state.accept(self.address, cx.waker()));
        match accepted {
            None => Poll::Pending,
            Some((id, peer)) => {
                let stream: MemoryStream = Box::new(SideStream::new(self.network.clone(), id));
                Poll::Ready(Ok((stream, peer)))
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.network.with(|state| state.unbind(self.address));
    }
}

#[cfg(test)]
mod tests;
