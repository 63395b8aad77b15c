//! What clients know of the topics of a cluster.
//!
//! Topics are known by their ids: a request that a client has given up may still be carried out, so
//! that a name may come back, but an id never does.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::Uuid;

use crate::invariant::Invariant;

/// What is known of one topic.
#[derive(Clone, Debug)]
pub struct TopicHistory {
    /// Its id, if an answer has named it.
    pub id: Option<Uuid>,
    /// Where its only client stands with it.
    pub stage: TopicStage,
    /// Has a request to create it got no answer? It may be carried out at any time.
    pub may_come: bool,
    /// The last setting that was acknowledged.
    pub acknowledged: String,
    /// Settings that were sent without an answer: they may come into force at any time.
    pub may_be: BTreeSet<String>,
}

/// Where a topic stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicStage {
    /// A request to create it was sent.
    Coming,
    /// Its creation was acknowledged.
    Exists,
    /// A request to delete it was sent.
    Going,
    /// Its deletion was acknowledged.
    Gone,
}

/// All topics of a history.
#[derive(Debug, Default)]
pub struct TopicsModel {
    /// By name.
    pub topics: BTreeMap<String, TopicHistory>,
    /// The ids of topics whose deletion was acknowledged.
    pub dead: BTreeSet<Uuid>,
    /// How many changes were acknowledged.
    pub acknowledged: u64,
}

/// What a node says of all topics, by name.
pub type TopicsSeen = BTreeMap<String, Uuid>;

/// A rule that is broken, and how.
pub type Mismatch = (Invariant, String);

impl TopicsModel {
    /// A topic is about to be created with this setting.
    pub fn begin(&mut self, name: &str, setting: &str) {
        let history = TopicHistory {
            id: None,
            stage: TopicStage::Coming,
            may_come: false,
            acknowledged: setting.to_owned(),
            may_be: BTreeSet::new(),
        };
        self.topics.insert(name.to_owned(), history);
    }

    /// What is known of a topic that was begun.
    pub fn topic(&mut self, name: &str) -> &mut TopicHistory {
        self.topics.get_mut(name).expect("its client has begun it")
    }

    /// The deletion of a topic was acknowledged, of this id if the answer named it.
    pub fn deleted(&mut self, name: &str, id: Option<Uuid>) {
        self.acknowledged += 1;
        let topic = self.topic(name);
        topic.stage = TopicStage::Gone;
        let ids = [topic.id, id];
        self.dead.extend(ids.into_iter().flatten());
    }

    /// Holds what a node says, when nothing goes wrong, against what was acknowledged.
    ///
    /// # Errors
    /// A rule is broken.
    pub fn check_topics(&self, seen: &TopicsSeen) -> Result<(), Mismatch> {
        for (name, history) in &self.topics {
            let found = seen.get(name);
            match history.stage {
                TopicStage::Exists => match (found, history.id) {
                    (None, _) => {
                        let why = format!("topic {name} was acknowledged and is not there");
                        return Err((Invariant::AcknowledgedMetadataStays, why));
                    }
                    (Some(found), Some(id)) if *found != id => {
                        let why = format!("topic {name} was acknowledged as {id} and is {found}");
                        return Err((Invariant::AcknowledgedMetadataStays, why));
                    }
                    _ => {}
                },
                TopicStage::Gone if found.is_some() && !history.may_come => {
                    let why = format!("topic {name} was deleted, and is there");
                    return Err((Invariant::DeletionsAreFinal, why));
                }
                _ => {}
            }
        }
        match seen.iter().find(|(_, id)| self.dead.contains(id)) {
            Some((name, id)) => {
                let why = format!("topic {name} of id {id} was deleted, and is there");
                Err((Invariant::DeletionsAreFinal, why))
            }
            None => Ok(()),
        }
    }

    /// Holds the setting of a topic against what was acknowledged.
    ///
    /// # Errors
    /// It is another.
    pub fn check_setting(&self, name: &str, found: Option<&str>) -> Result<(), Mismatch> {
        let Some(history) = self.topics.get(name) else { return Ok(()) };
        let is_known =
            |found: &str| found == history.acknowledged || history.may_be.contains(found);
        // What a request without an answer has created again has the setting of its creation.
        if history.stage != TopicStage::Exists || found.is_some_and(is_known) {
            return Ok(());
        }
        let why = format!(
            "topic {name} has the setting {found:?}; {} was acknowledged",
            history.acknowledged
        );
        Err((Invariant::AcknowledgedMetadataStays, why))
    }

    /// The names of the topics that must be there.
    pub fn existing(&self) -> Vec<String> {
        let exist = self.topics.iter().filter(|(_, it)| it.stage == TopicStage::Exists);
        exist.map(|(name, _)| name.clone()).collect()
    }
}
