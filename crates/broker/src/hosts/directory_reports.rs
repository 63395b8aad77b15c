//! What a broker has to tell the active controller of its data directories: where its replicas are
//! (KIP-858).
//!
//! It is said by threads that open logs or move them, which do not wait for other nodes; a task
//! sends it.

use ottla_locks::Mutex;
use ottla_metadata::AssignedDirectory;
use tokio::sync::{Notify, oneshot};

/// What is to be sent.
#[derive(Debug)]
pub struct DirectoryReport {
    /// Which replicas, and where they are.
    pub assigned: Vec<AssignedDirectory>,
    /// Waits for the answer: has the controller taken all of it?
    pub asker: Option<oneshot::Sender<bool>>,
}

/// Reports that have not been sent.
#[derive(Debug, Default)]
pub struct DirectoryReports {
    /// Guards the reports, in order; held to put one in or to take all out.
    waiting: Mutex<Vec<DirectoryReport>>,
    /// Notified when there is one.
    come: Notify,
}

impl DirectoryReports {
    /// Reports. If it is lost, the next change of the metadata reports it again.
    pub fn report(&self, assigned: Vec<AssignedDirectory>) {
        self.put(DirectoryReport { assigned, asker: None });
    }

    /// Reports, and waits for the answer; not on a thread that serves connections. Has the
    /// controller taken all of it?
    #[must_use]
    pub fn report_blocking(&self, assigned: Vec<AssignedDirectory>) -> bool {
        let (sender, answer) = oneshot::channel();
        self.put(DirectoryReport { assigned, asker: Some(sender) });
        answer.blocking_recv().unwrap_or(false)
    }

    fn put(&self, report: DirectoryReport) {
        self.waiting.lock().push(report);
        self.come.notify_one();
    }

    /// Waits until there are some, and takes them.
    pub async fn next(&self) -> Vec<DirectoryReport> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.come.notified().await;
        }
    }
}
