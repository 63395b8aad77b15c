//! Sends the state of this process to its supervisor, such as systemd (the protocol of
//! `sd_notify(3)`): datagrams of text to a Unix socket.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the supervisor.
#[derive(Debug)]
pub struct Supervisor {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// The supervisor that listens at `path`, the value of `NOTIFY_SOCKET`: the path of a socket,
    /// or, after an `@`, the name of one without a path.
    ///
    /// # Errors
    /// The system has no socket, or the path is longer than sockets may have.
    pub fn at(path: &OsStr) -> io::Result<Self> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(path)?,
        };
        Ok(Self { socket: UnixDatagram::unbound()?, address })
    }

    /// Says how this process is: `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=text`; several are
    /// lines of one text.
    ///
    /// # Errors
    /// The supervisor does not listen.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        self.socket.send_to_addr(state.as_bytes(), &self.address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_arrives() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).expect("bound");
        let supervisor = Supervisor::at(path.as_os_str()).expect("a socket");
        supervisor.tell("READY=1\nSTATUS=serves").expect("sent");
        let mut text = [0; 64];
        let length = listening.recv(&mut text).expect("received");
        assert_eq!(&text[..length], b"READY=1\nSTATUS=serves");
        drop(listening);
        assert!(supervisor.tell("WATCHDOG=1").is_err());
    }
}
