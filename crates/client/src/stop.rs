//! What asks a command to end: Ctrl-C, or a signal of the system.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask for the end. From its creation on none of them is missed, and none of them
/// ends the process by itself.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if the process was started to survive SIGHUP (`nohup`).
    hangup: Option<Signal>,
}

/// The signal that asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum StopSignal {
    /// SIGHUP: the terminal is gone.
    #[error("stopped by SIGHUP")]
    Hangup = 1,
    /// SIGINT: Ctrl-C.
    #[error("stopped by SIGINT")]
    Interrupt = 2,
    /// SIGTERM.
    #[error("stopped by SIGTERM")]
    Terminate = 15,
}

impl StopSignal {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code by which shells know the signal: 128 and its number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        128 + self as u8
    }
}

impl Stop {
    /// Listens from now on; to be called within a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        let hangup = match hangup_is_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())?, hangup })
    }

    /// Waits for the next of the signals.
    pub async fn asked(&mut self) -> StopSignal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = hangup => StopSignal::Hangup,
        }
    }
}

/// Was this process started so that SIGHUP does not end it, as `nohup` does? Then it is not to be
/// listened to either, as a JVM does not.
#[must_use]
pub fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_ignored(&status, StopSignal::Hangup)
}

/// By the lines of a process's status: `SigIgn` has a bit for each signal, the first one's lowest.
fn is_ignored(status: &str, signal: StopSignal) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as u8 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read_from_the_status() {
        let status = "Name:\tottla\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(status, StopSignal::Hangup));
        assert!(!is_ignored(status, StopSignal::Interrupt));
        assert!(!is_ignored("", StopSignal::Hangup));
        assert_eq!(
            [StopSignal::Hangup, StopSignal::Interrupt, StopSignal::Terminate]
                .map(StopSignal::exit_code),
            [129, 130, 143]
        );
    }
}
