//! Plays a history: several connections to one broker, and a text of the answers.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

use ottla_protocol::Request;
use ottla_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use ottla_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use ottla_protocol::messages::describe_transactions_request::DescribeTransactionsRequest;
use ottla_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use ottla_types::{ErrorCode, Uuid};
use regex::{Captures, Regex};

use crate::wire::{LoadError, WireConnection, wire_frame};

/// How often a question whose time has not come is asked again.
const TRIES: usize = 50_000;

pub struct Player {
    /// The history's name, which begins the names of its topics and groups.
    pub name: String,
    port: u16,
    connections: BTreeMap<usize, WireConnection>,
    text: String,
    /// What stands for a word that is different each time.
    names: Vec<(String, String)>,
}

impl Player {
    pub fn new(port: u16, name: &str) -> Result<Self, LoadError> {
        let mut player = Self {
            name: name.replace(' ', "-"),
            port,
            connections: BTreeMap::new(),
            text: format!("# {name}\n"),
            names: Vec::new(),
        };
        player.connection(0)?;
        Ok(player)
    }

    fn connection(&mut self, at: usize) -> Result<&mut WireConnection, LoadError> {
        if !self.connections.contains_key(&at) {
            let fresh = WireConnection::open(self.port)?;
            self.connections.insert(at, fresh);
        }
        self.connections.get_mut(&at).ok_or(LoadError::Thread)
    }

    /// What is asked next.
    pub fn about(&mut self, title: &str) {
        let _ = writeln!(self.text, "## {title}");
    }

    /// From now on `word` stands in the text as `name`.
    pub fn call(&mut self, word: &str, name: &str) {
        if !word.is_empty() {
            self.names.push((word.to_owned(), format!("<{name}>")));
        }
    }

    /// Asks, and writes the answer down.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, LoadError>
    where
        R::Response: Debug,
    {
        self.send(0, request, version)?;
        self.hear::<R>(0, version)
    }

    /// Sends on another connection; the answer is read later.
    pub fn send<R: Request>(
        &mut self,
        at: usize,
        request: &R,
        version: i16,
    ) -> Result<(), LoadError> {
        let frame = wire_frame(request, version)?;
        self.connection(at)?.send(&frame)
    }

    /// Reads an answer, and writes it down.
    pub fn hear<R: Request>(&mut self, at: usize, version: i16) -> Result<R::Response, LoadError>
    where
        R::Response: Debug,
    {
        let response = self.connection(at)?.answer::<R>(version)?;
        let _ = writeln!(self.text, "{:?} v{version}", R::KEY);
        let _ = writeln!(self.text, "{response:#?}");
        Ok(response)
    }

    /// Asks until the answer is no passing one; only that one is written down.
    pub fn insist<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, LoadError>
    where
        R::Response: Debug,
    {
        for _ in 0..TRIES {
            let frame = wire_frame(request, version)?;
            self.connection(0)?.send(&frame)?;
            let response = self.connection(0)?.answer::<R>(version)?;
            if !is_passing(code(&response)) {
                let _ = writeln!(self.text, "{:?} v{version}\n{response:#?}", R::KEY);
                return Ok(response);
            }
        }
        Err(LoadError::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE.0))
    }

    /// Asks, and does not write the answer down.
    pub fn quietly<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, LoadError> {
        self.send(0, request, version)?;
        self.connection(0)?.answer::<R>(version)
    }

    /// Writes something down.
    pub fn note(&mut self, what: &impl Debug) {
        let _ = writeln!(self.text, "{what:#?}");
    }

    /// Sends heartbeats until the member is called to join again.
    pub fn until_rebalance(
        &mut self,
        group: &str,
        member: &str,
        generation: i32,
    ) -> Result<(), LoadError> {
        let request = super::classic::heartbeat_request(group, member, generation);
        for _ in 0..TRIES {
            let response = self.quietly(&request, 4)?;
            if response.error_code != 0 {
                self.note(&response);
                return Ok(());
            }
        }
        Err(LoadError::Refused(0))
    }

    /// A topic of this history, and its id.
    pub fn topic(&mut self, name: &str, partitions: i32) -> Result<(String, Uuid), LoadError> {
        self.topic_with(name, partitions, &[])
    }

    /// A topic of this history with settings of its own, and its id.
    pub fn topic_with(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(String, Uuid), LoadError> {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
            ..Default::default()
        };
        let full = format!("{}-{name}", self.name);
        let topic = CreatableTopic {
            name: full.clone(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: settings.iter().map(config).collect(),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let frame = wire_frame(&request, 7)?;
        let connection = self.connection(0)?;
        connection.send(&frame)?;
        let made = connection.answer::<CreateTopicsRequest>(7)?.topics;
        let made = made.first().ok_or(LoadError::Thread)?;
        if made.error_code != 0 {
            return Err(LoadError::Refused(made.error_code));
        }
        self.call(&made.topic_id.to_string(), name);
        self.until_assigned(&full)?;
        Ok((full, made.topic_id))
    }

    /// The id of the broker.
    pub fn node(&mut self) -> Result<i32, LoadError> {
        let told = self.quietly(&DescribeClusterRequest::default(), 0)?;
        told.brokers.first().map(|it| it.broker_id).ok_or(LoadError::Refused(0))
    }

    /// Waits until the group coordinator knows the topic and gives its partitions to a member.
    fn until_assigned(&mut self, topic: &str) -> Result<(), LoadError> {
        let group = &format!("{topic}-probe");
        self.coordinator(group, 0)?;
        let mut is_given = false;
        for _ in 0..TRIES {
            let request = super::modern::consumer_join(group, "probe", topic);
            let told = self.quietly(&request, 1)?;
            is_given = told.assignment.is_some_and(|it| !it.topic_partitions.is_empty());
            if is_given {
                break;
            }
            self.quietly(&super::modern::consumer_heartbeat(group, "probe", -1), 1)?;
        }
        self.quietly(&super::modern::consumer_heartbeat(group, "probe", -1), 1)?;
        if is_given { Ok(()) } else { Err(LoadError::Refused(0)) }
    }

    /// Waits until the coordinator of a group (0) or of a transactional id (1) is there.
    pub fn coordinator(&mut self, key: &str, key_type: i8) -> Result<(), LoadError> {
        let key = key.to_owned();
        let request = FindCoordinatorRequest { key, key_type, ..Default::default() };
        self.awaited(|play| Ok(play.quietly(&request, 3)?.error_code))?;
        if key_type == 0 {
            let groups = vec![request.key];
            let request = DescribeGroupsRequest { groups, ..Default::default() };
            return self.awaited(|play| {
                let told = play.quietly(&request, 5)?;
                Ok(told.groups.first().map_or(0, |it| it.error_code))
            });
        }
        let transactional_ids = vec![request.key];
        let request = DescribeTransactionsRequest { transactional_ids, ..Default::default() };
        self.awaited(|play| {
            let told = play.quietly(&request, 0)?;
            Ok(told.transaction_states.first().map_or(0, |it| it.error_code))
        })
    }

    /// Asks until the answer's code is no passing one.
    fn awaited(
        &mut self,
        mut ask: impl FnMut(&mut Self) -> Result<i16, LoadError>,
    ) -> Result<(), LoadError> {
        for _ in 0..TRIES {
            if !is_passing(ask(self)?) {
                return Ok(());
            }
        }
        Err(LoadError::Refused(ErrorCode::COORDINATOR_NOT_AVAILABLE.0))
    }

    /// What was heard, in neutral words.
    pub fn text(&self) -> String {
        let mut text = self.text.clone();
        for (word, name) in &self.names {
            text = text.replace(word, name);
        }
        neutral_text(&text)
    }
}

fn is_passing(code: i16) -> bool {
    let passing = [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::CONCURRENT_TRANSACTIONS,
    ];
    passing.contains(&ErrorCode(code))
}

fn neutral_text(text: &str) -> String {
    let mut text = text.to_owned();
    let plain = [
        (r"(timestamp\w*|\w*time_ms): -?\d{5,}", "$1: <time>"),
        (r"\s*unknown_tags: UnknownTags\(\s*\[\],\s*\),", ""),
        (r"Some\(\s*([^()\[\]{}]*?),\s*\)", "Some($1)"),
        (r"(throttle_time_ms): \d+", "$1: <time>"),
        (r"\bport: \d+", "port: <port>"),
        (r"(error_message): Some\(\s*.*,?\s*\)", "$1: <words>"),
        (r"(heartbeat_interval_ms): [1-9]\d*", "$1: <interval>"),
    ];
    for (pattern, with) in plain {
        if let Ok(pattern) = Regex::new(pattern) {
            text = pattern.replace_all(&text, with).into_owned();
        }
    }
    if let Ok(codes) = Regex::new(r"error_code: (-?\d+)") {
        let name = |found: &Captures<'_>| {
            let code = found[1].parse().unwrap_or(-1);
            format!("error_code: {}", ErrorCode(code).name())
        };
        text = codes.replace_all(&text, name).into_owned();
    }
    let mut seen: Vec<String> = Vec::new();
    if let Ok(ids) = Regex::new(r"producer_id: (\d+)") {
        let name = |found: &Captures<'_>| {
            let at = seen.iter().position(|id| *id == found[1]).unwrap_or_else(|| {
                seen.push(found[1].to_owned());
                seen.len() - 1
            });
            format!("producer_id: <producer {at}>")
        };
        text = ids.replace_all(&text, name).into_owned();
    }
    text
}
