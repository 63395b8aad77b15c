//! One single-threaded runtime per core. A task never changes its thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// A task on its way to the thread that it will run on: called there, it is begun.
pub type ThreadJob = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Runs tasks on one thread, by rules of its own: a simulation does.
pub trait Executor: std::fmt::Debug + Send + Sync {
    /// Runs a task until it ends or serving is over.
    fn start(&self, job: ThreadJob);
}

/// How many jobs may wait for a thread to pick them up.
const JOBS_WAITING_MAX: usize = 1024;

/// The threads that serve connections.
#[derive(Debug)]
pub struct Threads {
    jobs: Vec<mpsc::Sender<ThreadJob>>,
    stop: watch::Sender<bool>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `count` threads (at least one), each with a runtime of its own.
    ///
    /// # Errors
    /// The system cannot start a thread or a runtime.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Self { jobs: Vec::new(), stop, handles: Vec::new() };
        for index in 0..count.max(1) {
            let (jobs, incoming) = mpsc::channel::<ThreadJob>(JOBS_WAITING_MAX);
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let stopped = stopped.clone();
            let handle = std::thread::Builder::new()
                .name(format!("ottla-net-{index}"))
                .spawn(move || LocalSet::new().block_on(&runtime, run_jobs(incoming, stopped)))?;
            threads.jobs.push(jobs);
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    /// How many threads there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.len()
    }

    /// A way to start tasks on the threads, cheap to clone.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner(ThreadKind::Threads(self.jobs.clone()))
    }

    /// Ends all tasks where they wait, and joins the threads.
    pub fn stop(self) {
        self.stop.send_replace(true);
        drop(self.jobs);
        for handle in self.handles {
            // A thread that panicked has printed that; the others must still be joined.
            let _ = handle.join();
        }
    }
}

/// Starts tasks: on [`Threads`], or where a simulation runs them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spawner(ThreadKind);

#[derive(Clone, Debug)]
enum ThreadKind {
    Threads(Vec<mpsc::Sender<ThreadJob>>),
    Simulated(Arc<dyn Executor>),
}

impl Spawner {
    /// Starts tasks where a simulation runs them.
    #[must_use]
    pub fn simulated(executor: Arc<dyn Executor>) -> Self {
        Self(ThreadKind::Simulated(executor))
    }

    /// How many threads there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.0 {
            ThreadKind::Threads(jobs) => jobs.len(),
            ThreadKind::Simulated(_) => 1,
        }
    }

    /// Runs `start` on thread `index` (modulo their number) and then the task it returns.
    /// Waits while too many tasks wait to be picked up; after a stop nothing happens.
    pub async fn spawn<F, T>(&self, index: usize, start: F)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let job: ThreadJob = Box::new(move || Box::pin(start()));
        match &self.0 {
            // A closed channel means that the node is stopping: no client is left for the task.
            ThreadKind::Threads(jobs) => drop(jobs[index % jobs.len()].send(job).await),
            ThreadKind::Simulated(executor) => executor.start(job),
        }
    }
}

async fn run_jobs(mut incoming: mpsc::Receiver<ThreadJob>, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            // First, so that many jobs do not put it off.
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            job = incoming.recv() => match job {
                Some(job) => drop(tokio::task::spawn_local(job())),
                None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn tasks_run_on_the_thread_they_were_given_to() {
        let threads = Threads::start(2).expect("threads");
        let spawner = threads.spawner();
        let names = Builder::new_current_thread().build().expect("a runtime").block_on(async {
            let mut names = Vec::new();
            for index in 0..4 {
                let (send, receive) = oneshot::channel();
                let start = move || async move {
                    let name = std::thread::current().name().map(str::to_owned);
                    send.send(name).expect("awaited");
                };
                spawner.spawn(index, start).await;
                names.push(receive.await.expect("sent").expect("named"));
            }
            names
        });
        assert_eq!(names, ["ottla-net-0", "ottla-net-1", "ottla-net-0", "ottla-net-1"]);
        threads.stop();
    }

    #[test]
    fn a_stop_ends_tasks_that_would_wait_for_ever() {
        let threads = Threads::start(1).expect("threads");
        let spawner = threads.spawner();
        Builder::new_current_thread().build().expect("a runtime").block_on(async {
            spawner.spawn(0, std::future::pending::<()>).await;
        });
        threads.stop();
    }
}
