//! Scripted client histories, played to any broker: what it answers, field by field.
//!
//! `conformance/run histories` plays them against Ottla and against Apache Kafka and compares the
//! two texts. What differs from run to run (ids, times, ports, wordings) is put in neutral words.

mod admin;
mod classic;
mod codes;
mod data;
mod modern;
mod offsets;
mod pending;
mod player;
mod telemetry;
mod transactions;

use clap::Args;

use crate::wire::LoadError;
use player::Player;

/// Plays every history, or those whose name contains a word.
#[derive(Args, Clone, Debug)]
pub struct Histories {
    /// The broker's port on this machine.
    #[arg(long)]
    port: u16,
    /// Only histories whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

type History = (&'static str, fn(&mut Player) -> Result<(), LoadError>);

impl Histories {
    /// What the broker answered, as text.
    ///
    /// # Errors
    /// The connection broke, or an answer cannot be decoded.
    pub fn run(&self) -> Result<String, LoadError> {
        let all = [
            classic::ALL,
            modern::ALL,
            offsets::ALL,
            transactions::ALL,
            admin::ALL,
            pending::ALL,
            codes::ALL,
            telemetry::ALL,
            data::ALL,
        ]
        .concat();
        let wanted = |name: &str| self.only.as_deref().is_none_or(|it| name.contains(it));
        let mut text = String::new();
        for (name, history) in all.into_iter().filter(|(name, _)| wanted(name)) {
            let mut player = Player::new(self.port, name)?;
            history(&mut player)?;
            text.push_str(&player.text());
        }
        Ok(text)
    }
}
