//! Says when the node serves, and that it still does: to systemd, and in a file.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_broker::{Broker, Supervisor};
use ottla_clock::Clock;

/// Where the node reports that it is ready.
#[derive(Debug, Default)]
pub struct Readiness {
    supervisor: Option<Supervisor>,
    watchdog: Option<Duration>,
    file: Option<PathBuf>,
}

/// What systemd hands to a service of the type `notify`.
#[derive(Debug, Default)]
pub struct Notify {
    /// `NOTIFY_SOCKET`.
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`: the service counts as hung when it is silent for so many microseconds.
    pub watchdog_us: Option<u64>,
}

impl Notify {
    /// What the environment says.
    #[expect(clippy::disallowed_methods, reason = "only app reads the environment")]
    pub fn of_environment() -> Self {
        let own = std::process::id().to_string();
        // Meant for another process, such as a shell that started this one.
        let is_own = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == own);
        let watchdog = std::env::var("WATCHDOG_USEC").ok().and_then(|it| it.parse().ok());
        Self {
            socket: std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()),
            watchdog_us: watchdog.filter(|it| is_own && *it > 0),
        }
    }
}

impl Readiness {
    /// Nothing is ready yet: a file that an earlier node left goes.
    ///
    /// # Errors
    /// The file cannot be removed or written, or the supervisor's socket has no valid name.
    pub fn new(notify: Notify, file: Option<&Path>) -> std::io::Result<Self> {
        if let Some(file) = file {
            remove_if_there(file).map_err(ready_file_error(file))?;
            // Refused before the node serves: a supervisor would wait for a file that never comes.
            let aside = temporary_path(file);
            std::fs::write(&aside, "")
                .and_then(|()| remove_if_there(&aside))
                .map_err(ready_file_error(file))?;
        }
        let supervisor = notify.socket.map(|it| Supervisor::at(&it)).transpose()?;
        // Half of it: a word that is late must not count as silence.
        let watchdog = notify.watchdog_us.map(|it| Duration::from_micros(it / 2));
        Ok(Self { supervisor, watchdog, file: file.map(Path::to_owned) })
    }

    /// The node serves. The file gets a line for each listener, `NAME://host:port`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ready(&self, broker: &Broker) -> std::io::Result<()> {
        if let Some(file) = &self.file {
            let aside = temporary_path(file);
            let mut text = Vec::new();
            for (name, address) in broker.addresses() {
                writeln!(text, "{name}://{address}")?;
            }
            let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, file));
            written.map_err(ready_file_error(file))?;
        }
        self.tell("READY=1\nSTATUS=serving clients");
        Ok(())
    }

    /// The node is about to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
        if let Some(file) = &self.file
            && let Err(error) = remove_if_there(file)
        {
            tracing::warn!(file = %file.display(), %error, "ready file cannot be removed; remove it by hand");
        }
    }

    /// Says again and again that the node is alive, as long as all its serving threads answer.
    /// Never returns.
    pub async fn keep_alive(&self, broker: &Broker, clock: &Clock) -> Infallible {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        loop {
            broker.answers().await;
            self.tell("WATCHDOG=1");
            clock.sleep(interval).await;
        }
    }

    fn tell(&self, state: &str) {
        if let Some(supervisor) = &self.supervisor
            && let Err(error) = supervisor.tell(state)
        {
            tracing::warn!(
                %error,
                state,
                "the service manager cannot be notified (NOTIFY_SOCKET); the node runs on"
            );
        }
    }
}

/// Where the file is written before it gets its name, so that it is there whole or not at all.
fn temporary_path(file: &Path) -> PathBuf {
    let mut aside = file.as_os_str().to_owned();
    aside.push(".tmp");
    aside.into()
}

/// The same error, with the file that it is about.
fn ready_file_error(file: &Path) -> impl Fn(std::io::Error) -> std::io::Error {
    move |error| {
        let why = format!("--ready-file {} cannot be written: {error}", file.display());
        std::io::Error::new(error.kind(), why)
    }
}

fn remove_if_there(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
