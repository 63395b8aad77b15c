//! Subscriptions to clients' metrics, and what clients push (KIP-714).

use bytes::Bytes;
use ottla_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use ottla_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use ottla_types::Uuid;

use super::History;
use super::player::Player;
use crate::wire::LoadError;

pub const ALL: &[History] = &[("client metrics", client_metrics)];

/// The number of the resource type.
const CLIENT_METRICS: i8 = 16;
/// How often the history checks whether a subscription is in force.
const TRIES: u64 = 10_000;

fn subscribe_request(name: &str, settings: &[(&str, &str)]) -> IncrementalAlterConfigsRequest {
    let config = |(name, value): &(&str, &str)| AlterableConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: CLIENT_METRICS,
        resource_name: name.to_owned(),
        configs: settings.iter().map(config).collect(),
        ..Default::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() }
}

fn subscription_request(client: Uuid) -> GetTelemetrySubscriptionsRequest {
    GetTelemetrySubscriptionsRequest { client_instance_id: client, ..Default::default() }
}

fn push_request(client: Uuid, subscription: i32, metrics: &'static [u8]) -> PushTelemetryRequest {
    PushTelemetryRequest {
        client_instance_id: client,
        subscription_id: subscription,
        metrics: Bytes::from_static(metrics),
        ..Default::default()
    }
}

/// A new client, and the id that it is to push under.
fn new_client(play: &mut Player, number: u64) -> Result<(Uuid, i32), LoadError> {
    let id = Uuid::of(number);
    let told = play.quietly(&subscription_request(id), 0)?;
    play.call(&told.subscription_id.to_string(), "subscription");
    play.note(&(told.error_code, told.push_interval_ms));
    Ok((id, told.subscription_id))
}

fn client_metrics(play: &mut Player) -> Result<(), LoadError> {
    let request = subscribe_request(
        "producers",
        &[("metrics", "org.apache.kafka.producer."), ("match", "client_source_address=127.*")],
    );
    play.ask(&request, 1)?;
    play.ask(
        &subscribe_request("nobody", &[("metrics", "other."), ("match", "client_id=nobody")]),
        1,
    )?;
    for number in 0..TRIES {
        let told = play.quietly(&subscription_request(Uuid::of(1_000_000 + number)), 0)?;
        if !told.requested_metrics.is_empty() {
            break;
        }
    }
    play.about("a client asks, and asks again at once");
    let told = play.quietly(&subscription_request(Uuid::of(1000)), 0)?;
    play.call(&told.subscription_id.to_string(), "subscription");
    play.note(&told);
    play.ask(&subscription_request(Uuid::of(1000)), 0)?;
    play.about("it pushes, and pushes again at once");
    play.ask(&push_request(Uuid::of(1000), told.subscription_id, b"metrics"), 0)?;
    play.ask(&push_request(Uuid::of(1000), told.subscription_id, b"metrics"), 0)?;
    play.ask(&subscription_request(Uuid::of(1000)), 0)?;
    play.about("its last push may come early, and is the last");
    let last = PushTelemetryRequest {
        terminating: true,
        ..push_request(Uuid::of(1000), told.subscription_id, b"metrics")
    };
    play.ask(&last, 0)?;
    play.ask(&last, 0)?;
    play.about("clients that have no id");
    play.ask(&push_request(Uuid::ZERO, told.subscription_id, b"metrics"), 0)?;
    play.ask(&push_request(Uuid::ONE, told.subscription_id, b"metrics"), 0)?;
    play.about("a client that did not ask, and asks then");
    play.ask(&push_request(Uuid::of(1001), 5, b"metrics"), 0)?;
    let (id, subscription) = new_client(play, 1001)?;
    play.ask(&push_request(id, subscription, b""), 0)?;
    play.about("another subscription, other codecs, too much, what does not unpack");
    let (id, subscription) = new_client(play, 1002)?;
    play.ask(&push_request(id, subscription.wrapping_add(1), b"metrics"), 0)?;
    for (number, compression_type) in (1003..).zip([5, -1, 127]) {
        let (id, subscription) = new_client(play, number)?;
        let request =
            PushTelemetryRequest { compression_type, ..push_request(id, subscription, b"metrics") };
        play.ask(&request, 0)?;
        // A client whose answer said to ask again may do so at once.
        new_client(play, number)?;
    }
    let (id, subscription) = new_client(play, 1010)?;
    let metrics = Bytes::from(vec![7; (1 << 20) + 1]);
    play.ask(&PushTelemetryRequest { metrics, ..push_request(id, subscription, b"") }, 0)?;
    for (number, compression_type) in (1020..).zip([1, 2, 3, 4]) {
        let (id, subscription) = new_client(play, number)?;
        let request =
            PushTelemetryRequest { compression_type, ..push_request(id, subscription, b"metrics") };
        play.ask(&request, 0)?;
    }
    Ok(())
}
