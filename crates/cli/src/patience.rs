//! How long a node may take to answer when its state is looked at.

use std::fmt::Display;
use std::time::Duration;

use ottla_clock::Clock;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node answers; `None` if it takes too long.
pub(crate) async fn answer_in_time<T>(clock: &Clock, answer: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = clock.sleep(PATIENCE) => None,
    }
}

/// What a node answers; or, in a few words, why it does not. `silence` is what is said of one that
/// takes too long.
pub(crate) async fn answer_or_reason<T, E: Display>(
    clock: &Clock,
    silence: &str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match answer_in_time(clock, answer).await {
        Some(answer) => answer.map_err(|error| error.to_string()),
        None => Err(format!("{silence} in {} s", PATIENCE.as_secs())),
    }
}
