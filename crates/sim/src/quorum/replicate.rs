//! Between the logs: messages, fetches, truncation. This is the part that the host of a replica
//! plays; the decisions in it (roles, votes, commits, where logs part) are the core's.

use ottla_raft::{Input, LogEnd, Role};
use ottla_types::Offset;

use super::message::{QuorumEvent, QuorumFetch, QuorumFetchAnswer, QuorumMessage, Standing};
use super::node::{ParkedFetch, QuorumFetchUnderWay};
use super::world::{QuorumWorld, place};
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
            return Ok(());
        }
        match message {
            QuorumMessage::AskVote { asked, life } => {
                if let Some(live) = &mut self.nodes[to].live {
                    live.lives[from] = live.lives[from].max(life);
                }
                self.step(to, Input::Asked(asked))
            }
            QuorumMessage::Vote { answer, leader, life } if self.is_life(to, life) => {
                self.hear(to, Standing { epoch: answer.epoch, leader })?;
                self.step(to, Input::Voted(answer))
            }
            QuorumMessage::BeginEpoch { leader, epoch } => {
                self.hear(to, Standing { epoch, leader: Some(leader) })?;
                if let Some(live) = &self.nodes[to].live {
                    let standing = live.standing();
                    self.send(to, from, QuorumMessage::BeginEpochAnswer { standing });
                }
                self.fetch_if_due(to);
                Ok(())
            }
            QuorumMessage::BeginEpochAnswer { standing } => self.hear(to, standing),
            QuorumMessage::Fetch { fetch, life } => {
                self.fetched(to, ParkedFetch { from, life, fetch })
            }
            QuorumMessage::Fetched { answer, number, life } if self.is_life(to, life) => {
                self.answered(from, to, answer, number)
            }
            QuorumMessage::Vote { .. } | QuorumMessage::Fetched { .. } => Ok(()),
        }
    }

    /// Every answer says in which epoch its sender is, and whom it follows there.
    fn hear(&mut self, at: usize, standing: Standing) -> InvariantCheck {
        let Standing { epoch, leader } = standing;
        let known = self.nodes[at].live.as_ref().map_or(0, |live| live.raft.epoch());
        if epoch < known {
            return Ok(());
        }
        self.step(at, Input::Heard { epoch, leader })
    }

    /// Fetches, if nothing is under way and everything so far is durable: to ask for what comes
    /// next says that all before is on the disk.
    pub(super) fn fetch_if_due(&mut self, at: usize) {
        let now_ms = self.schedule.now_ms();
        let any = self.dice.index(self.voters.len());
        let Some(live) = &self.nodes[at].live else { return };
        let is_under_way = live.fetch.is_some_and(|it| it.since_ms + FETCH_GIVEN_UP_MS > now_ms);
        if is_under_way {
            return;
        }
        if !live.log.is_flushed() {
            return self.flush(at);
        }
        let to = match live.raft.role() {
            Role::Follower { leader, .. } => place(*leader),
            // Any voter knows more, perhaps.
            Role::Unattached => self.voter_places()[any],
            _ => return,
        };
        if to != at {
            self.fetch(at, to);
        }
    }

    fn fetch(&mut self, at: usize, to: usize) {
        let (follower, life) = (self.nodes[at].key, self.nodes[at].life);
        let now_ms = self.schedule.now_ms();
        let Some(live) = &mut self.nodes[at].live else { return };
        live.fetches += 1;
        let number = live.fetches;
        live.fetch = Some(QuorumFetchUnderWay { number, to, since_ms: now_ms });
        let fetch = QuorumFetch {
            follower,
            epoch: live.raft.epoch(),
            end: live.log.lineage.end(),
            high_watermark: live.high_watermark,
            number,
        };
        self.send(at, to, QuorumMessage::Fetch { fetch, life });
    }

    /// A node is asked for what comes next.
    fn fetched(&mut self, at: usize, asked: ParkedFetch) -> InvariantCheck {
        let now_ms = self.schedule.now_ms();
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let standing = live.standing();
        let leads = matches!(live.raft.role(), Role::Leader { .. });
        if !leads || asked.fetch.epoch != standing.epoch {
            self.answer_fetch(at, &asked, QuorumFetchAnswer::NotLeader(standing));
            return Ok(());
        }
        if let Some(parts_at) = live.log.lineage.diverging(asked.fetch.end) {
            let answer = QuorumFetchAnswer::Diverging { leader: standing, at: parts_at };
            self.answer_fetch(at, &asked, answer);
            return Ok(());
        }
        live.contacts[asked.from] = now_ms;
        let QuorumFetch { follower, end, number, .. } = asked.fetch;
        self.step(at, Input::Fetched { follower, end: end.offset })?;
        let life = self.nodes[at].life;
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        live.parked.retain(|it| it.from != asked.from);
        let told = live.raft.committed().unwrap_or(-1);
        let has_news = live.log.end() > end.offset || told > asked.fetch.high_watermark;
        if has_news {
            self.answer_with_entries(at, &asked);
        } else {
            live.parked.push(asked);
            let event = QuorumEvent::Unparked { node: at, life, follower: asked.from, number };
            self.schedule.after(PARKED_MS, event);
        }
        Ok(())
    }

    fn answer_fetch(&mut self, at: usize, asked: &ParkedFetch, answer: QuorumFetchAnswer) {
        let (number, life) = (asked.fetch.number, asked.life);
        self.send(at, asked.from, QuorumMessage::Fetched { answer, number, life });
    }

    fn answer_with_entries(&mut self, at: usize, asked: &ParkedFetch) {
        let Some(live) = &self.nodes[at].live else { return };
        let rest = live.log.entries.get(count(asked.fetch.end.offset)..).unwrap_or_default();
        let answer = QuorumFetchAnswer::Entries {
            leader: live.standing(),
            entries: rest.iter().take(self.answer_max).copied().collect(),
            high_watermark: live.raft.committed().unwrap_or(-1),
        };
        self.answer_fetch(at, asked, answer);
    }

    /// There is something new for the fetches that wait.
    pub(super) fn answer_parked(&mut self, at: usize) {
        let Some(live) = &mut self.nodes[at].live else { return };
        for asked in std::mem::take(&mut live.parked) {
            self.answer_with_entries(at, &asked);
        }
    }

    /// A fetch has waited long enough.
    pub(super) fn unpark(&mut self, at: usize, follower: usize, number: u64) {
        let Some(live) = &mut self.nodes[at].live else { return };
        let found = live.parked.iter().position(|it| it.from == follower);
        if let Some(found) = found.filter(|found| live.parked[*found].fetch.number == number) {
            let asked = live.parked.remove(found);
            self.answer_with_entries(at, &asked);
        }
    }

    /// A fetch was answered.
    fn answered(
        &mut self,
        from: usize,
        at: usize,
        answer: QuorumFetchAnswer,
        number: u64,
    ) -> InvariantCheck {
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        // An answer that comes twice, or after the fetch was given up, is not for it.
        if live.fetch.is_none_or(|it| it.number != number || it.to != from) {
            return Ok(());
        }
        live.fetch = None;
        let epoch = live.raft.epoch();
        let (QuorumFetchAnswer::NotLeader(standing)
        | QuorumFetchAnswer::Diverging { leader: standing, .. }
        | QuorumFetchAnswer::Entries { leader: standing, .. }) = &answer;
        let standing = *standing;
        self.hear(at, standing)?;
        let follows = self.role(at).is_some_and(
            |role| matches!(role, Role::Follower { leader, .. } if place(*leader) == from),
        );
        if !follows || standing.epoch != epoch {
            return Ok(());
        }
        match answer {
            QuorumFetchAnswer::NotLeader(_) => return Ok(()),
            QuorumFetchAnswer::Diverging { at: parts_at, .. } => self.cut(at, parts_at)?,
            QuorumFetchAnswer::Entries { entries, high_watermark, .. } => {
                self.replicate(at, &entries, high_watermark)?;
            }
        }
        self.step(at, Input::FetchAnswered { leader: self.id(from), epoch })?;
        self.fetch_if_due(at);
        Ok(())
    }

    fn cut(&mut self, at: usize, parts_at: LogEnd) -> InvariantCheck {
        let Some(live) = &self.nodes[at].live else { return Ok(()) };
        let end = live.log.lineage.cut(parts_at);
        self.check_cut(at, end)?;
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        let was = live.log.entries.len();
        live.log.truncate(count(end));
        self.coverage.cut_records += (was - live.log.entries.len()) as u64;
        let end = live.log.durable_end();
        self.step(at, Input::Stored(end))?;
        self.flush(at);
        Ok(())
    }

    fn replicate(
        &mut self,
        at: usize,
        entries: &[SimRecord],
        high_watermark: Offset,
    ) -> InvariantCheck {
        for entry in entries {
            self.check_append(at, *entry)?;
            if let Some(live) = &mut self.nodes[at].live {
                live.log.append(*entry);
            }
        }
        self.flush(at);
        let Some(live) = &mut self.nodes[at].live else { return Ok(()) };
        // A leader whose epoch has committed nothing yet does not know.
        if high_watermark >= 0 {
            let known = high_watermark.min(live.log.end());
            self.check_watermark(at, known)?;
            if let Some(live) = &mut self.nodes[at].live {
                live.high_watermark = known;
            }
        }
        Ok(())
    }
}
