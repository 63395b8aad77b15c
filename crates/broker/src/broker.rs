//! A node of this machine: [`assemble`](crate::assemble) with threads, disks and TCP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_clock::Clock;
use ottla_net::threads::Threads;
use ottla_net::transport::Transport;
use ottla_partitions::{DiskFiles, Files};
use ottla_settings::Settings;
use tokio::sync::oneshot;

use crate::assemble::{Assembled, NodeFailure, Seams, StartFacts, StartOptions, assemble};
use crate::formatting::{FormatReport, FormatRequest, format_node};
use crate::forming::{FormingSeams, form_cluster};
use crate::lanes::NodeLanes;
use crate::lost;
#[cfg(test)]
use crate::node::Node;
use crate::recovering::{BackupReport, RecoverRequest, RecoveryReport, back_up_node, recover_node};
use crate::start_error::StartError;

/// A running node.
#[derive(Debug)]
pub struct Broker {
    assembled: Assembled,
    threads: Threads,
}

impl Broker {
    /// Starts a node: directories, metadata log, controller, listeners, partitions.
    ///
    /// # Errors
    /// A part of it fails; then no part of it runs.
    pub fn start(
        settings: Settings,
        options: StartOptions,
        clock: Clock,
    ) -> Result<Self, StartError> {
        Self::start_on(Arc::new(DiskFiles), settings, options, clock)
    }

    /// As [`Broker::start`], on other disks: a test's, which fail or hang.
    pub(crate) fn start_on(
        files: Arc<dyn Files>,
        settings: Settings,
        options: StartOptions,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let threads = Threads::start(network_threads())?;
        let seams = Seams {
            files,
            clock,
            lanes: NodeLanes::threads(&settings),
            spawner: threads.spawner(),
            transport: Transport::Tcp,
        };
        let assembled = current_thread_runtime()?.block_on(assemble(seams, settings, options))?;
        Ok(Self { assembled, threads })
    }

    /// Lets a node with `ottla.cluster` found a cluster with the others of the list, or join the
    /// one that they have: its directories are formatted then. Waits for the others without end; a
    /// caller that stops waiting leaves behind what was promised, and nothing else.
    ///
    /// # Errors
    /// The settings or the nodes contradict each other, or the disk fails.
    pub async fn form_cluster(settings: Settings, clock: Clock) -> Result<(), StartError> {
        if settings.cluster_list()?.is_none() {
            return Ok(());
        }
        let threads = Threads::start(1)?;
        let seams = FormingSeams {
            files: Arc::new(DiskFiles),
            clock,
            spawner: threads.spawner(),
            transport: Transport::Tcp,
        };
        let (sender, formed) = oneshot::channel();
        let form = move || async move {
            // The receiver waits for it, unless the start was given up.
            let _ = sender.send(form_cluster(seams, &settings).await);
        };
        threads.spawner().spawn(0, form).await;
        let formed = formed.await;
        // The controller's port is free when this returns.
        threads.stop();
        formed.unwrap_or_else(|_| Err(std::io::Error::other("it has ended").into()))
    }

    /// Formats the data directories of a node; says which, and for which cluster.
    ///
    /// # Errors
    /// The voters cannot be as they are chosen, a directory is formatted already or belongs to
    /// another cluster, or the disk fails.
    pub fn format(
        settings: &Settings,
        request: FormatRequest,
        clock: &Clock,
    ) -> Result<FormatReport, StartError> {
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        format_node(&files, settings, request, clock)
    }

    /// Declares data directories lost, each by its path or its id: their partitions are given up.
    /// An empty directory at that path is formatted for the cluster. Returns what was done, in
    /// lines.
    ///
    /// # Errors
    /// The directory holds data, is not one of this node's, or is one of several that may be
    /// meant; or the disk fails.
    pub fn declare_lost(
        settings: &Settings,
        names: &[String],
        clock: &Clock,
    ) -> Result<Vec<String>, StartError> {
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        lost::declare_lost(&files, settings, names, clock)
    }

    /// Makes a new quorum of one voter of this node's metadata, or shows what that would mean.
    ///
    /// # Errors
    /// See [`recover_node`].
    pub fn recover(
        settings: &Settings,
        request: &RecoverRequest,
        clock: &Clock,
    ) -> Result<RecoveryReport, StartError> {
        let files: Arc<dyn Files> = Arc::new(DiskFiles);
        recover_node(&files, settings, request, clock)
    }

    /// Copies the metadata of a node that runs or is stopped to a new directory.
    ///
    /// # Errors
    /// See [`back_up_node`].
    pub fn back_up(settings: &Settings, to: &Path) -> Result<BackupReport, StartError> {
        back_up_node(&DiskFiles, settings, to)
    }

    /// The node, to be dialled in process.
    #[cfg(test)]
    pub(crate) fn node(&self) -> &Node {
        &self.assembled.node
    }

    /// The listeners and the addresses they are bound to.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        self.assembled.addresses()
    }

    /// Where the page with its metrics is, if it is served.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.assembled.metrics_address()
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.assembled.cluster_id()
    }

    /// Was the data directory new?
    #[must_use]
    pub const fn was_formatted(&self) -> bool {
        self.assembled.was_formatted()
    }

    /// How it has started.
    #[must_use]
    pub const fn facts(&self) -> &StartFacts {
        self.assembled.facts()
    }

    /// The data directories.
    #[must_use]
    pub fn data(&self) -> &[PathBuf] {
        self.assembled.data()
    }

    /// Returns when each of the threads that serve connections has answered.
    pub async fn answers(&self) {
        let spawner = self.threads.spawner();
        for index in 0..spawner.count() {
            let (answer, answered) = oneshot::channel();
            let start = move || async move {
                // This side waits for it.
                let _ = answer.send(());
            };
            spawner.spawn(index, start).await;
            // A thread that has ended never answers; its sender is dropped.
            if answered.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns when the node cannot go on, with the reason.
    pub async fn failed(&self) -> NodeFailure {
        self.assembled.failed().await
    }

    /// Stops: no more requests, everything on the disk, the next start needs no recovery.
    ///
    /// # Errors
    /// The disk fails; the next start recovers every log.
    pub fn stop(self) -> Result<(), StartError> {
        let runtime = current_thread_runtime()?;
        runtime.block_on(self.assembled.leave());
        self.threads.stop();
        runtime.block_on(self.assembled.stop())
    }
}

/// A runtime that waits for work on other threads.
fn current_thread_runtime() -> Result<tokio::runtime::Runtime, StartError> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}

/// One thread a core, as connections share nothing.
fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
#[path = "broker_tests.rs"]
mod tests;
