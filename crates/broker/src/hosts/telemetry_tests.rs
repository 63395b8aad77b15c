use super::*;

const MS: Duration = Duration::from_millis(1);

fn traits(client_id: &str, port: u16) -> ClientTraits {
    ClientTraits {
        client_id: client_id.to_owned(),
        software_name: "apache-kafka-java".to_owned(),
        software_version: "4.3.1".to_owned(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
    }
}

fn at(ms: u32) -> PushTimes {
    PushTimes { monotonic: MS * ms, wall_ms: i64::from(ms) }
}

/// `name: key=value; key=value`, one subscription a line.
fn subscribe(telemetry: &Telemetry, text: &str) {
    let settings = text.lines().filter_map(|line| {
        let (name, settings) = line.trim().split_once(": ")?;
        let settings = settings.split("; ").filter_map(|it| it.split_once('='));
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some((name.to_owned(), settings.collect()))
    });
    telemetry.subscribe(settings.collect());
}

fn push(id: Uuid, subscription: i32, metrics: &[u8]) -> Push {
    let metrics = Bytes::copy_from_slice(metrics);
    Push { client: id, subscription, is_last: false, codec: 0, metrics }
}

const ID: Uuid = Uuid::of(1000);

#[test]
fn a_client_is_asked_for_what_selects_it() {
    let telemetry = Telemetry::new(1000);
    subscribe(
        &telemetry,
        "all: metrics=org.apache.kafka.producer.; interval.ms=2000
         app: metrics=a.,b.; match=client_id=app-.*,client_software_name=apache.*
         rare: metrics=c.; interval.ms=3600000; match=client_source_port=1[0-9]
         never: metrics=d.; match=client_id=app
         here: metrics=e.; match=client_source_address=127\\.0\\.0\\.1
         star: metrics=*,x.; match=client_id=star",
    );
    let cases: [(&str, u16, &[&str], i32); 4] = [
        ("app-1", 9, &["a.", "b.", "e.", "org.apache.kafka.producer."], 2000),
        ("other", 12, &["c.", "e.", "org.apache.kafka.producer."], 2000),
        ("app", 9, &["d.", "e.", "org.apache.kafka.producer."], 2000),
        ("star", 9, &["*"], 2000),
    ];
    for ((client_id, port, metrics, interval_ms), number) in cases.into_iter().zip(1..) {
        let told = telemetry.ask(Uuid::of(500 + number), traits(client_id, port), at(1));
        let told = told.expect("the first question");
        assert_eq!(
            (told.metrics, told.interval_ms),
            (metrics.iter().map(|it| (*it).to_owned()).collect(), interval_ms),
            "{client_id}"
        );
    }
    subscribe(&telemetry, "rare: metrics=c.; interval.ms=3600000");
    let told = telemetry.ask(ID, traits("x", 9), at(1)).expect("the first question");
    assert_eq!(told.interval_ms, 300_000, "never rarer than usual, as in Kafka");
    subscribe(&telemetry, "");
    let told = telemetry.ask(ID, traits("x", 9), at(2)).expect("other subscriptions");
    assert_eq!((told.metrics.len(), told.interval_ms), (0, 300_000));
}

#[test]
fn requests_keep_to_the_interval() {
    let telemetry = Telemetry::new(1000);
    subscribe(&telemetry, "all: metrics=*; interval.ms=1000");
    let throttled = Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
    let told = telemetry.ask(ID, traits("c", 1), at(1)).expect("the first question");
    let asked = |ms| telemetry.ask(ID, traits("c", 1), at(ms)).map(|it| it.id);
    let pushed = |ms| telemetry.push(&push(ID, told.id, b"m"), traits("c", 1), at(ms));
    assert_eq!(asked(1000), throttled.map(|()| 0));
    assert_eq!(pushed(1000), Ok(()), "the first push may come at any time");
    assert_eq!(pushed(1500), throttled);
    assert_eq!(pushed(2000), Ok(()));
    assert_eq!(asked(2999), throttled.map(|()| 0));
    assert_eq!(asked(3000), Ok(told.id));
    // A subscription that has changed makes the id another, and the client may ask at once.
    subscribe(&telemetry, "all: metrics=a.; interval.ms=1000");
    assert_eq!(pushed(3001), Err(ErrorCode::UNKNOWN_SUBSCRIPTION_ID));
    let fresh = asked(3002).expect("it was sent back");
    assert_ne!(fresh, told.id);
    // A client that has ended its connection may come back.
    telemetry.disconnected(&traits("c", 1).address);
    assert_eq!(asked(3003), Ok(fresh));
}

#[test]
fn a_push_is_refused_in_kafkas_order() {
    let telemetry = Telemetry::new(40);
    let fresh = |number| {
        let id = Uuid::of(number);
        (id, telemetry.ask(id, traits("c", 1), at(1)).expect("the first question").id)
    };
    let (id, subscription) = fresh(600);
    let good = push(id, subscription, b"m");
    let gzip = Bytes::from(Compression::Gzip.compress(b"0123456789", None).expect("packs"));
    let bomb = Bytes::from(Compression::Gzip.compress(&[0; 1000], None).expect("packs"));
    let cases = [
        (Push { client: Uuid::ZERO, ..good.clone() }, ErrorCode::INVALID_REQUEST),
        (Push { client: Uuid::ONE, ..good.clone() }, ErrorCode::INVALID_REQUEST),
        (Push { client: Uuid::of(601), ..good.clone() }, ErrorCode::UNKNOWN_SUBSCRIPTION_ID),
        (push(id, subscription + 1, b"m"), ErrorCode::UNKNOWN_SUBSCRIPTION_ID),
        (Push { codec: 5, ..good.clone() }, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (Push { codec: -1, ..good.clone() }, ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        (push(id, subscription, &[0; 41]), ErrorCode::TELEMETRY_TOO_LARGE),
        (Push { codec: 1, ..good.clone() }, ErrorCode::INVALID_RECORD),
        (Push { codec: 4, ..good.clone() }, ErrorCode::INVALID_RECORD),
        (Push { codec: 1, metrics: bomb, ..good.clone() }, ErrorCode::INVALID_RECORD),
        (push(id, subscription, b""), ErrorCode::NONE),
        (good.clone(), ErrorCode::NONE),
    ];
    for ((push, code), number) in cases.into_iter().zip(1..) {
        // Long after the one before.
        let now = at(number * 400_000);
        let known = telemetry.ask(push.client, traits("c", 1), now);
        let found = telemetry.push(&push, traits("c", 1), now).err();
        assert_eq!(found.unwrap_or(ErrorCode::NONE), code, "push {number} {known:?}");
    }
    assert_eq!(telemetry.pushed()[&id].metrics, "m");
    let long = Telemetry::new(100);
    let told = long.ask(id, traits("c", 1), at(1)).expect("the first question");
    let packed = Push { codec: 1, metrics: gzip, ..push(id, told.id, b"") };
    assert_eq!(long.push(&packed, traits("c", 1), at(1)), Ok(()));
    assert_eq!(long.pushed()[&id].metrics, "0123456789", "it is kept unpacked");
    // After its last push a client may not push again.
    let last = Push { is_last: true, ..push(id, told.id, b"end") };
    assert_eq!(long.push(&last, traits("c", 1), at(2)), Ok(()), "the last may come early");
    let again = long.push(&last, traits("c", 1), at(400_000));
    assert_eq!(again, Err(ErrorCode::INVALID_REQUEST));
}

#[test]
fn what_is_kept_is_bounded() {
    let telemetry = Telemetry::new(1 << 20);
    for number in 0..40_000_u32 {
        let id = Uuid::of(u64::from(number) + 200);
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let traits = ClientTraits { address, ..traits("c", 1) };
        let told = telemetry.ask(id, traits.clone(), at(number)).expect("the first question");
        let push = push(id, told.id, &[7; 6_000]);
        telemetry.push(&push, traits, at(number)).expect("the first push");
    }
    let inner = telemetry.lock();
    assert!(inner.clients.len() <= CLIENTS_MAX, "{} clients", inner.clients.len());
    let bytes: usize = inner.kept.values().map(|it| it.metrics.len()).sum();
    assert_eq!(bytes, inner.kept_bytes);
    assert!(bytes <= KEPT_BYTES_MAX && bytes > KEPT_BYTES_MAX / 2, "{bytes} bytes");
    assert!(inner.kept.contains_key(&Uuid::of(40_199)), "the newest are kept");
}
