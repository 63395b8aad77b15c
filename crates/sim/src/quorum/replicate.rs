//! Between the logs: messages, fetches, truncation. This is the part that the host of a replica
//! plays; the decisions in it are the core's.

use ottla_raft::{
    Ballot, FetchAnswer, FetchAnswered, FetchVerdict, FollowerRequest, Input, ReplicaKey, Role,
    SnapshotAnswered, SnapshotPart, Standing, VoteAnswer,
};
use ottla_types::ErrorCode;

use super::message::{FetchReply, QuorumEvent, QuorumMessage};
use super::node::{ParkedFetch, QuorumFetchUnderWay, batch_of};
use super::world::{Fetching, QuorumWorld, node_index};
use crate::invariant::InvariantCheck;
use crate::log::{SimRecord, count};

/// How long a leader keeps a fetch that it has nothing new for, in milliseconds.
const PARKED_MS: u64 = 500;
/// After how long a fetch without an answer is given up, in milliseconds.
const FETCH_GIVEN_UP_MS: u64 = 1500;

impl QuorumWorld {
    pub(super) fn arrives(
        &mut self,
        from: usize,
        to: usize,
        message: QuorumMessage,
    ) -> InvariantCheck {
        if self.nodes[to].live.is_none() {
            self.refuse_connection(from, to);
            return Ok(());
        }
        match message {
            QuorumMessage::AskVote { asked, voter, life } => {
                if let Some(live) = &mut self.nodes[to].live {
                    live.lives[from] = live.lives[from].max(life);
                }
                if asked.ballot == Ballot::PreVote && !self.nodes[to].knows_pre_votes {
                    return self.knows_no_pre_vote(from, to, life);
                }
                self.step(to, Input::Asked { asked, voter: Some(voter) })
            }
            QuorumMessage::Vote { answer, standing, life } if self.is_life(to, life) => {
                self.hear(to, standing)?;
                self.step(to, Input::Voted(answer))
            }
            QuorumMessage::BeginEpoch { asked } => {
                self.step(to, Input::BeginAsked(asked))?;
                self.fetch_if_due(to);
                Ok(())
            }
            QuorumMessage::EndEpoch { asked } => self.step(to, Input::EndAsked(asked)),
            QuorumMessage::EpochAnswer { standing, .. } => self.hear(to, standing),
            QuorumMessage::Fetch { fetch, number, life } => {
                self.fetched(to, ParkedFetch { from, life, number, fetch })
            }
            QuorumMessage::FetchSnapshot { .. } => self.snapshot_fetched(to, from, message),
            QuorumMessage::Fetched { life, .. } | QuorumMessage::SnapshotFetched { life, .. }
                if self.is_life(to, life) =>
            {
                self.answered(from, to, message)
            }
            QuorumMessage::ChangeAnswer { error, life } if self.is_life(to, life) => {
                let leader = self.id(from);
                self.step(to, Input::ChangeAnswered { leader, error })
            }
            QuorumMessage::AskChange { .. }
            | QuorumMessage::AskVersions
            | QuorumMessage::Versions { .. } => self.membership_arrives(from, to, message),
            QuorumMessage::Vote { .. }
            | QuorumMessage::Fetched { .. }
            | QuorumMessage::SnapshotFetched { .. }
            | QuorumMessage::ChangeAnswer { .. } => Ok(()),
        }
    }

    /// The process is gone. If its host is not, the sender hears that at once.
    fn refuse_connection(&mut self, from: usize, to: usize) {
        if self.nodes[to].is_host_up && self.nodes[from].live.is_some() {
            let (life, delay_ms) = (self.nodes[from].life, self.dice.between(1, 5));
            self.schedule.after(delay_ms, QuorumEvent::Refused { node: from, life, by: to });
        }
    }

    /// An older node answers a pre-vote with an error that knows no epoch.
    fn knows_no_pre_vote(&mut self, from: usize, to: usize, life: u32) -> InvariantCheck {
        let (error, ballot) = (ErrorCode::UNSUPPORTED_VERSION, Ballot::PreVote);
        let voter = self.id(to);
        let answer = VoteAnswer { voter, epoch: 0, ballot, granted: false, error };
        self.send(to, from, QuorumMessage::Vote { answer, standing: Standing::default(), life });
        Ok(())
    }

    pub(super) fn standing(&self, at: usize) -> Standing {
        self.nodes[at].live.as_ref().map_or_else(Standing::default, |live| live.raft.standing())
    }

    /// Every answer says in which epoch its sender is, and whom it follows there.
    fn hear(&mut self, at: usize, standing: Standing) -> InvariantCheck {
        if standing.epoch < self.standing(at).epoch {
            return Ok(());
        }
        self.step(at, Input::Heard(standing))
    }

    /// Fetches, if nothing is under way and everything so far is durable.
    pub(super) fn fetch_if_due(&mut self, at: usize) {
        let now_ms = self.schedule.now_ms();
        let any = match self.fetching {
            Fetching::WhenDue => self.dice.index(self.nodes.len()),
            Fetching::Withheld => return,
            Fetching::Now { asks } => asks,
        };
        let (life, candidacy) = (self.nodes[at].life, self.nodes[at].candidacy);
        let Some(live) = &mut self.nodes[at].live else { return };
        let is_under_way = live.fetch.is_some_and(|it| it.since_ms + FETCH_GIVEN_UP_MS > now_ms);
        if is_under_way {
            return;
        }
        let votes = candidacy != ottla_raft::Candidacy::Never;
        if votes && !live.log.is_flushed() {
            return self.flush(at);
        }
        let Some(request) = live.raft.next_request() else { return };
        let number = live.fetches + 1;
        let (to, message) = match request {
            FollowerRequest::Fetch { leader, fetch } => {
                // Any node knows more, perhaps.
                let to = leader.map_or(any, node_index);
                (to, QuorumMessage::Fetch { fetch, number, life })
            }
            FollowerRequest::FetchSnapshot { leader, fetch } => {
                (node_index(leader), QuorumMessage::FetchSnapshot { fetch, number, life })
            }
        };
        if to != at {
            live.fetches = number;
            live.fetch = Some(QuorumFetchUnderWay { number, to, since_ms: now_ms });
            self.send(at, to, message);
        }
    }

    /// A node is asked for what comes next.
    fn fetched(&mut self, at: usize, asked: ParkedFetch) -> InvariantCheck {
        self.note_contact(at, asked.fetch.follower, asked.fetch.epoch);
        self.step(at, Input::Fetched(asked.fetch))?;
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        live.parked.retain(|it| it.from != asked.from);
        let verdict = live.raft.fetch_verdict(&asked.fetch);
        if matches!(verdict, FetchVerdict::Valid { has_news: false, .. }) {
            live.parked.push(asked);
            let (follower, number) = (asked.from, asked.number);
            let event = QuorumEvent::Unparked { node: at, life, follower, number };
            self.schedule.after(PARKED_MS, event);
        } else {
            self.answer_fetch(at, &asked, verdict);
        }
        Ok(())
    }

    /// When a voter was last heard of, as the invariant counts it: by the name in the message,
    /// whose sender may have another disk by now.
    pub(super) fn note_contact(&mut self, at: usize, key: ReplicaKey, epoch: i32) {
        let now_ms = self.schedule.now_ms();
        if let Some(live) = &mut self.nodes[at].live
            && epoch == live.raft.epoch()
            && live.raft.voters().has(key)
        {
            live.contacts[node_index(key.id)] = now_ms;
        }
    }

    fn answer_fetch(&mut self, at: usize, asked: &ParkedFetch, verdict: FetchVerdict) {
        let Some(live) = &self.nodes[at].live else { return };
        let (fetch, number, life) = (asked.fetch, asked.number, asked.life);
        let reply = match verdict {
            FetchVerdict::Refused(error) => FetchReply::Refused(error),
            FetchVerdict::Diverging(end) => FetchReply::Diverging(end),
            FetchVerdict::Snapshot(id) => FetchReply::Snapshot(id),
            FetchVerdict::Valid { high_watermark, .. } => {
                let entries = live.log.records_from(count(fetch.end.offset), self.answer_max);
                FetchReply::Entries { entries, high_watermark }
            }
        };
        let standing = live.raft.standing();
        self.send(at, asked.from, QuorumMessage::Fetched { fetch, standing, reply, number, life });
    }

    /// There may be something new for the fetches that wait, or no leader any more.
    pub(super) fn answer_parked(&mut self, at: usize) {
        let Some(live) = &mut self.nodes[at].live else { return };
        for asked in std::mem::take(&mut live.parked) {
            let Some(live) = &mut self.nodes[at].live else { return };
            let verdict = live.raft.fetch_verdict(&asked.fetch);
            if matches!(verdict, FetchVerdict::Valid { has_news: false, .. }) {
                live.parked.push(asked);
            } else {
                self.answer_fetch(at, &asked, verdict);
            }
        }
    }

    /// A fetch has waited long enough.
    pub(super) fn unpark(&mut self, at: usize, follower: usize, number: u64) {
        let Some(live) = &mut self.nodes[at].live else { return };
        let found = live.parked.iter().position(|it| it.from == follower && it.number == number);
        if let Some(found) = found {
            let asked = live.parked.remove(found);
            let verdict = live.raft.fetch_verdict(&asked.fetch);
            self.answer_fetch(at, &asked, verdict);
        }
    }

    /// A part of a snapshot is fetched.
    fn snapshot_fetched(
        &mut self,
        at: usize,
        from: usize,
        message: QuorumMessage,
    ) -> InvariantCheck {
        let QuorumMessage::FetchSnapshot { fetch, number, life } = message else { return Ok(()) };
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let found = live.log.snapshots.iter().find(|it| it.id == fetch.id).cloned();
        let size = found.as_ref().map(|it| it.size_bytes());
        let checked = live.raft.check_snapshot_fetch(&fetch, size);
        let part = checked.map(|()| {
            let size_bytes = size.unwrap_or(0);
            let bytes = self.part_max.min(size_bytes - fetch.position);
            SnapshotPart { bytes, size_bytes }
        });
        if part.is_ok() {
            self.note_contact(at, fetch.follower, fetch.epoch);
            self.step(at, Input::SnapshotFetched(fetch))?;
            if let Some(live) = &mut self.nodes[from].live {
                live.download = found;
            }
        }
        let standing = self.standing(at);
        let message = QuorumMessage::SnapshotFetched { fetch, standing, part, number, life };
        self.send(at, from, message);
        Ok(())
    }

    /// A fetch was answered.
    fn answered(&mut self, from: usize, at: usize, message: QuorumMessage) -> InvariantCheck {
        let node = self.id(from);
        let number = match &message {
            QuorumMessage::Fetched { number, .. } => *number,
            QuorumMessage::SnapshotFetched { number, .. } => *number,
            _ => return Ok(()),
        };
        if let Some(live) = &mut self.nodes[at].live
            && live.fetch.is_some_and(|it| it.number == number && it.to == from)
        {
            live.fetch = None;
        }
        match message {
            QuorumMessage::Fetched { fetch, standing, reply, .. } => {
                let answer = self.read_reply(at, count(fetch.end.offset), &reply);
                let asked = fetch;
                let answered = FetchAnswered { from: node, asked, standing, answer };
                self.step(at, Input::FetchAnswered(answered))?;
            }
            QuorumMessage::SnapshotFetched { fetch, standing, part, .. } => {
                let asked = fetch;
                let answered = SnapshotAnswered { from: node, asked, standing, part };
                self.step(at, Input::SnapshotAnswered(answered))?;
            }
            _ => {}
        }
        self.fetch_if_due(at);
        Ok(())
    }

    /// Reads an answer; the records wait for the replica to say which of them it takes.
    fn read_reply(&mut self, at: usize, base: usize, reply: &FetchReply) -> FetchAnswer {
        match reply {
            FetchReply::Refused(error) => FetchAnswer::Refused(*error),
            FetchReply::Diverging(end) => FetchAnswer::Diverging(*end),
            FetchReply::Snapshot(id) => FetchAnswer::Snapshot(*id),
            FetchReply::Entries { entries, high_watermark } => {
                let batches = (base..).zip(entries);
                let batches = batches.map(|(at, entry)| batch_of(&self.table, at, *entry));
                let batches = batches.collect();
                if let Some(live) = &mut self.nodes[at].live {
                    live.fetched.clone_from(entries);
                }
                FetchAnswer::Records { high_watermark: *high_watermark, batches }
            }
        }
    }

    /// Appends the records that the replica takes of those that have come.
    pub(super) fn append_fetched(&mut self, at: usize, batches: usize) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let entries: Vec<SimRecord> = live.fetched[..batches].to_vec();
        for entry in entries {
            self.check_append(at, entry)?;
            if let Some(live) = &mut self.nodes[at].live {
                live.log.append(entry);
            }
        }
        self.flush(at);
        Ok(())
    }

    /// Cuts a log off.
    pub(super) fn cut(&mut self, at: usize, end: usize) -> InvariantCheck {
        self.check_cut(at, end)?;
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let was = live.log.end();
        live.log.truncate(end);
        self.coverage.cut_records += (was - live.log.end()) as u64;
        self.flush(at);
        Ok(())
    }

    pub(super) fn leads(&self, at: usize) -> bool {
        self.role(at).is_some_and(|role| matches!(role, Role::Leader(_)))
    }
}
