//! A machine: a disk, an address, and at times a node that runs on it.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla_broker::{
    Assembled, ChosenVoters, FormatRequest, FormattedDirs, Formatting, NoLevels, NodeFailure,
    NodeLanes, QuorumView, ReleaseChoice, Seams, StartError, StartOptions, assemble, format_node,
};
use ottla_clock::{Clock, ClockTraits};
use ottla_settings::Settings;
use ottla_storage::{Fate, Fault, SimDisk};

use super::executor::{ExecutorEnds, Process, SeededExecutor};
use super::network::SimNetwork;
use crate::random::Dice;

/// Where clients find a node.
pub const PORT: u16 = 9092;

/// What the wall clocks show when a simulation begins.
const WALL_MS: i64 = 1_700_000_000_000;

/// How a machine is.
#[derive(Debug, Default)]
enum Life {
    /// No process runs.
    #[default]
    Down,
    /// A node starts.
    Starting,
    /// A node serves.
    Up(Box<Assembled>),
    /// A node leaves its cluster, and stops.
    Stopping,
    /// A node has left its cluster, and serves still.
    Left(Box<Assembled>),
    /// A node has stopped cleanly.
    Stopped,
    /// A node could not start or stop.
    Failed(String),
    /// A node that served cannot go on, as it says itself.
    Broke(NodeFailure),
}

/// A machine.
pub struct SimMachine {
    address: IpAddr,
    settings: Vec<String>,
    /// Its disk.
    pub disk: SimDisk,
    /// How long the next node waits for the disk at most.
    pub disk_latency_max: Duration,
    drift_ppm: i32,
    seed: u64,
    /// The clock of the node that runs.
    clock: Option<Clock>,
    /// How many processes it has had, and the number before the first of them.
    lives: u32,
    first_process: u32,
    life: Rc<RefCell<Life>>,
    lanes: Option<NodeLanes>,
}

impl SimMachine {
    /// A machine with an empty disk, and a node of these settings (`name=value`).
    pub fn new(address: IpAddr, settings: Vec<String>, mut dice: Dice) -> Self {
        Self {
            address,
            settings,
            disk: SimDisk::new(dice.draw()),
            disk_latency_max: Duration::from_millis(5),
            drift_ppm: i32::try_from(dice.below(2_000)).unwrap_or(0) - 1_000,
            seed: dice.draw(),
            clock: None,
            lives: 0,
            first_process: 0,
            life: Rc::default(),
            lanes: None,
        }
    }

    /// Where clients find its node.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.address, PORT)
    }

    /// Numbers its processes from here on.
    #[must_use]
    pub fn numbered_from(self, first_process: u32) -> Self {
        Self { first_process, ..self }
    }

    fn process(&self) -> Process {
        Process(self.first_process + self.lives)
    }

    /// Formats its directories for a cluster of this id, whose voters its settings name.
    pub fn format(&self, executor: &SeededExecutor, cluster_id: &str) {
        let traits = ClockTraits { wall_ms: WALL_MS, drift_ppm: 0, seed: self.seed };
        let clock = Clock::simulated(executor.time(), traits);
        let settings = Settings::read(None, &self.settings).expect("settings of the simulator");
        let request = FormatRequest {
            cluster_id: Some(cluster_id.to_owned()),
            formatted: FormattedDirs::Refuse,
            features: Vec::new(),
            release: ReleaseChoice::default(),
            credentials: Vec::new(),
            voters: ChosenVoters::Unsaid,
        };
        format_node(&self.disk.files(), &settings, request, &clock).expect("an empty disk");
    }

    /// Starts a node.
    pub fn start(&mut self, executor: &mut SeededExecutor, network: &SimNetwork) {
        self.lives += 1;
        let process = self.process();
        let passed_ms = i64::try_from(executor.time().now().as_millis()).unwrap_or(i64::MAX);
        let traits = ClockTraits {
            wall_ms: WALL_MS + passed_ms,
            drift_ppm: self.drift_ppm,
            seed: self.seed.wrapping_add(u64::from(self.lives)),
        };
        let clock = Clock::simulated(executor.time(), traits);
        self.clock = Some(clock.clone());
        let lanes = NodeLanes::simulated(&clock, self.disk_latency_max);
        let driven = lanes.clone();
        executor.start(process, async move { driven.drive().await });
        let seams = Seams {
            files: self.disk.files(),
            clock,
            lanes: lanes.clone(),
            spawner: executor.spawner(process),
            transport: network.transport(self.address),
        };
        self.lanes = Some(lanes);
        let settings = Settings::read(None, &self.settings).expect("settings of the simulator");
        let options = StartOptions {
            formatting: Formatting::IfEmpty,
            levels: Arc::new(NoLevels),
            authorizer: None,
        };
        self.life.replace(Life::Starting);
        let life = Rc::clone(&self.life);
        executor.start(process, async move {
            let assembled = match assemble(seams, settings, options).await {
                Ok(assembled) => assembled,
                Err(error) => return drop(life.replace(Life::Failed(error.to_string()))),
            };
            let failed = assembled.failed();
            life.replace(Life::Up(Box::new(assembled)));
            let why = failed.await;
            life.replace(Life::Broke(why));
        });
    }

    /// Sets the wall clock of the node that runs forward, or back.
    pub fn jump(&self, ms: i64) {
        if let Some(clock) = &self.clock {
            clock.jump(ms);
        }
    }

    /// From now on the disk has this fault, or none.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.disk.set_fault(Path::new("/"), fault);
    }

    /// Does a node serve?
    pub fn is_up(&self) -> bool {
        matches!(&*self.life.borrow(), Life::Up(_))
    }

    /// Does no process run?
    pub fn is_down(&self) -> bool {
        matches!(&*self.life.borrow(), Life::Down | Life::Stopped)
    }

    /// Has the node stopped as it was asked to?
    pub fn has_stopped(&self) -> bool {
        matches!(&*self.life.borrow(), Life::Stopped)
    }

    /// Why a node could not start, go on or stop.
    pub fn failure(&self) -> Option<String> {
        match &*self.life.borrow() {
            Life::Failed(why) => Some(why.clone()),
            Life::Broke(why) => Some(why.to_string()),
            _ => None,
        }
    }

    /// What the node that serves knows of the metadata quorum.
    pub fn quorum(&self) -> Option<QuorumView> {
        match &*self.life.borrow() {
            Life::Up(assembled) => Some(assembled.quorum()),
            _ => None,
        }
    }

    /// How it is, for a reader.
    pub fn describe(&self) -> String {
        match &*self.life.borrow() {
            Life::Up(assembled) => format!("it serves, {:?}", assembled.quorum()),
            Life::Down => "it is down".to_owned(),
            Life::Starting => "it starts".to_owned(),
            Life::Stopping | Life::Left(_) | Life::Stopped => "it stops".to_owned(),
            Life::Failed(why) => format!("it could not start: {why}"),
            Life::Broke(why) => format!("it could not go on: {why}"),
        }
    }

    /// Lets the node leave its cluster, if it serves: [`SimMachine::stop`] comes next.
    pub fn leave(&mut self, executor: &mut SeededExecutor) {
        let assembled = match self.life.replace(Life::Stopping) {
            Life::Up(assembled) => assembled,
            life => {
                self.life.replace(life);
                return;
            }
        };
        let life = Rc::clone(&self.life);
        executor.start(self.process(), async move {
            assembled.leave().await;
            if matches!(&*life.borrow(), Life::Stopping) {
                life.replace(Life::Left(assembled));
            }
        });
    }

    /// Does the node stop, and has not stopped yet?
    pub fn is_stopping(&self) -> bool {
        matches!(&*self.life.borrow(), Life::Stopping | Life::Left(_) | Life::Stopped)
    }

    /// Has the node left its cluster, so that it can be stopped?
    pub fn has_left(&self) -> bool {
        matches!(&*self.life.borrow(), Life::Left(_))
    }

    /// Stops the node cleanly, if it serves.
    pub fn stop(&mut self, executor: &mut SeededExecutor) {
        let assembled = match self.life.replace(Life::Stopping) {
            Life::Up(assembled) | Life::Left(assembled) => assembled,
            life => {
                self.life.replace(life);
                return;
            }
        };
        executor.kill(self.process(), ExecutorEnds::Serving);
        let life = Rc::clone(&self.life);
        executor.start(self.process(), async move {
            let stopped: Result<(), StartError> = assembled.stop().await;
            life.replace(match stopped {
                Ok(()) => Life::Stopped,
                Err(error) => Life::Failed(error.to_string()),
            });
        });
    }

    /// Ends the process where it is; all it has written stays, or, after a power cut, what that
    /// leaves of it.
    pub fn kill(&mut self, executor: &mut SeededExecutor, power_cut: Option<Fate>) {
        if let Some(lanes) = self.lanes.take() {
            lanes.stop();
        }
        executor.kill(self.process(), ExecutorEnds::All);
        drop(self.life.replace(Life::Down));
        self.clock = None;
        match power_cut {
            None => self.disk.crash(),
            Some(fate) => self.disk.power_cut_as(fate),
        }
    }
}
