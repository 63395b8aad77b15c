//! A state of the quorum, and what of it tells it from others.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ottla_raft::{Candidacy, Standing, Timing};

use super::super::message::{QuorumEvent, QuorumMessage};
use super::super::node::QuorumNode;
use super::super::world::{Fetching, QuorumWorld, VotersNamed, first_quorum, node_index};
use crate::invariant::{InvariantCheck, Violation};
use crate::model::ModelBounds;
use crate::random::Dice;

/// What of the bounds has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ModelUse {
    /// Which disks are slow, by the places of the nodes: 1, 2, 4 ...
    pub slow: u64,
    pub slow_disks: usize,
    pub timeouts: usize,
    pub crashes: usize,
    pub proposals: usize,
    pub refusals: usize,
    pub questions: usize,
}

/// A message that is under way, or a log that is being made durable.
#[derive(Clone, Debug)]
pub(super) struct PendingEvent {
    /// Its hash, by which pending events are ordered.
    print: u64,
    pub event: Arc<QuorumEvent>,
}

/// The quorum at one moment of one history.
#[derive(Clone, Debug)]
pub(crate) struct ModelState {
    pub(super) world: QuorumWorld,
    /// Each once, in the order of their hashes.
    pub(super) pending: Vec<PendingEvent>,
    pub(super) used: ModelUse,
    /// The hash of all that tells this state from others.
    print: u64,
    /// The invariant that broke on the way here.
    pub violation: Option<Violation>,
}

impl ModelState {
    /// All nodes have started for the first time.
    pub fn first(bounds: &ModelBounds) -> Self {
        let world = QuorumWorld::for_model(bounds.voters);
        let (pending, used) = (Vec::new(), ModelUse::default());
        let mut state = Self { world, pending, used, print: 0, violation: None };
        let started = (0..bounds.voters).try_for_each(|at| state.world.restart(at, 0));
        state.settle_step(started);
        state
    }

    /// How many messages are under way.
    pub fn messages(&self) -> usize {
        self.pending.iter().filter(|it| it.is_message()).count()
    }

    /// The latest epoch that a replica is in.
    pub fn latest_epoch(&self) -> i32 {
        let epochs = self.world.nodes.iter().filter_map(|node| node.live.as_ref());
        epochs.map(|live| live.raft.epoch()).max().unwrap_or(0)
    }

    /// In how many epochs there has been a leader, and in how many something has committed.
    pub fn led_and_committed(&self) -> (usize, usize) {
        let mut committed = self.world.watch.committed_in.clone();
        committed.dedup();
        (self.world.watch.led_epochs(), committed.len())
    }

    /// The counts of the last step; none remain.
    pub fn take_coverage(&mut self) -> crate::coverage::Coverage {
        std::mem::take(&mut self.world.coverage)
    }

    /// After a step: what it has left for later is pending, and what tells no two states apart
    /// is as in all others.
    pub(super) fn settle_step(&mut self, checked: InvariantCheck) {
        self.violation = checked.err();
        self.take_events();
        let world = &mut self.world;
        self.pending.retain(|it| matters_still(world, &it.event));
        self.pending.sort_unstable_by_key(|it| it.print);
        self.pending.dedup_by_key(|it| it.print);
        world.fetching = Fetching::Withheld;
        world.dice = Dice::new(0);
        for at in 0..world.nodes.len() {
            self.settle_node(at);
            if !is_writing(self, at) {
                self.used.slow &= !(1 << at);
            }
        }
        let mut hasher = DefaultHasher::new();
        let broken = self.violation.as_ref().map(|it| it.invariant as usize);
        self.world.nodes.iter_mut().for_each(|node| node.print().hash(&mut hasher));
        self.pending.iter().for_each(|it| it.print.hash(&mut hasher));
        (self.used, broken, &self.world.watch).hash(&mut hasher);
        self.print = hasher.finish();
    }

    /// What has been left for later is pending.
    pub(super) fn take_events(&mut self) {
        for event in self.world.schedule.drain() {
            if matches!(event, QuorumEvent::Arrives { .. } | QuorumEvent::Flushed { .. }) {
                self.pending.push(PendingEvent::of(event));
            }
        }
    }

    fn settle_node(&mut self, at: usize) {
        let world = &mut self.world;
        if let Some(live) = &world.nodes[at].live {
            let is_asking = || self.pending.iter().any(|it| it.is_fetch_of(at));
            // A fetch that was lost, or whose answer could not be of use any more, is given up.
            let leader = live.raft.leader().map(node_index);
            let is_useful = |to: usize| leader.is_none_or(|leader| leader == to);
            let gives_up = live.fetch.is_some_and(|fetch| !is_useful(fetch.to) || !is_asking());
            let is_counting = live.fetches > 0 || !live.fetched.is_empty();
            let has_cut = !live.log.is_flushing && live.log.generation > 0;
            if (gives_up || is_counting || has_cut)
                && let Some(live) = &mut world.nodes[at].live
            {
                live.fetches = 0;
                live.fetched.clear();
                live.fetch = live.fetch.filter(|_| !gives_up);
                live.log.generation *= u32::from(!has_cut);
            }
        }
    }
}

impl PendingEvent {
    fn of(event: QuorumEvent) -> Self {
        let mut hasher = DefaultHasher::new();
        event.hash(&mut hasher);
        Self { print: hasher.finish(), event: Arc::new(event) }
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(*self.event, QuorumEvent::Arrives { .. })
    }

    /// Is it a fetch of this node, or the answer to one?
    fn is_fetch_of(&self, at: usize) -> bool {
        let QuorumEvent::Arrives { from, to, message } = &*self.event else { return false };
        match message {
            QuorumMessage::Fetch { .. } => *from == at,
            QuorumMessage::Fetched { .. } => *to == at,
            _ => false,
        }
    }
}

/// Can it still change anything?
fn matters_still(world: &QuorumWorld, event: &QuorumEvent) -> bool {
    match event {
        QuorumEvent::Flushed { node, life, .. } => world.is_life(*node, *life),
        QuorumEvent::Arrives { to, message, .. } => match message {
            QuorumMessage::Vote { life, .. } => world.is_life(*to, *life),
            // No replica looks at an answer to a question of another epoch.
            QuorumMessage::Fetched { life, fetch, standing, .. } => {
                world.is_life(*to, *life)
                    && (world.standing(*to).epoch == fetch.epoch || is_news(world, *to, *standing))
            }
            QuorumMessage::EpochAnswer { standing, .. } => is_news(world, *to, *standing),
            _ => true,
        },
        _ => false,
    }
}

/// Is a write of this node under way?
pub(super) fn is_writing(state: &ModelState, at: usize) -> bool {
    let live = state.world.nodes[at].live.as_ref();
    live.is_some_and(|live| !live.persisting.is_empty() || live.log.is_flushing)
}

/// Would a node that hears this learn anything?
pub(super) fn is_news(world: &QuorumWorld, at: usize, told: Standing) -> bool {
    let Some(live) = &world.nodes[at].live else { return false };
    let known = Standing { epoch: live.raft.epoch(), leader: live.raft.durable().leader };
    told.epoch > known.epoch
        || told.epoch == known.epoch && told.leader.is_some() && told.leader != known.leader
}

impl QuorumWorld {
    /// Voters that are formatted and have never started, on a network and on disks that do
    /// nothing by themselves.
    fn for_model(voters: usize) -> Self {
        let mut nodes: Vec<QuorumNode> = (1..).map(QuorumNode::new).take(voters).collect();
        let never = Timing { election_ms: 0, fetch_ms: 0, backoff_max_ms: 0, request_ms: 0 };
        for node in &mut nodes {
            (node.timing, node.candidacy) = (never, Candidacy::ByOperator);
            // A connection to a process that is gone is lost; that it is refused is a choice.
            node.is_host_up = false;
            node.endpoints.clear();
        }
        let first = first_quorum(&mut nodes, VotersNamed::OnDisks);
        Self { fetching: Fetching::Withheld, ..Self::of_nodes(nodes, first) }
    }
}

impl Hash for ModelState {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.print.hash(hasher);
    }
}

/// States with one hash are one state, as they are for the checker.
impl PartialEq for ModelState {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for ModelState {}
