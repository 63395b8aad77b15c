//! The examples, run against a node in this process.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../../examples/admin.rs"]
mod admin;
#[path = "../../examples/consume.rs"]
mod consume;
#[path = "../../examples/produce.rs"]
mod produce;

use std::sync::Arc;

use ottla_broker::{Broker, Formatting, NoLevels, StartOptions};
use ottla_clock::Clock;
use ottla_settings::Settings;

#[test]
fn examples_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", folder.path().display()),
        "offsets.topic.num.partitions=1".to_owned(),
    ];
    let options = StartOptions {
        formatting: Formatting::IfEmpty,
        levels: Arc::new(NoLevels),
        authorizer: None,
    };
    let settings = Settings::read(None, &settings).unwrap();
    let broker = Broker::start(settings, options, Clock::real()).unwrap();
    let bootstrap = broker.addresses()[0].1.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        admin::run(&bootstrap).await.unwrap();
        produce::run(&bootstrap).await.unwrap();
        consume::run(&bootstrap, 3).await.unwrap();
    });
    broker.stop().unwrap();
}
