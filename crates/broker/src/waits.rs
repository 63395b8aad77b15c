//! Several waits at once, on one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Waits, of which each is polled whenever one of them may have moved: for few.
pub struct Waits<'a, T>(Vec<Pin<Box<dyn Future<Output = T> + 'a>>>);

impl<T> Default for Waits<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T> Waits<'a, T> {
    /// Begins one more when it is polled next.
    pub fn add(&mut self, wait: impl Future<Output = T> + 'a) {
        self.0.push(Box::pin(wait));
    }

    /// What the first that is over has come to; pending for ever, if there is none.
    pub async fn next(&mut self) -> T {
        poll_fn(|cx| {
            for at in 0..self.0.len() {
                if let Poll::Ready(done) = self.0[at].as_mut().poll(cx) {
                    drop(self.0.swap_remove(at));
                    return Poll::Ready(done);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What all of these come to, in their order; they are waited for together.
pub async fn wait_for_all<T>(all: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waits = Waits::default();
    for (at, one) in all.into_iter().enumerate() {
        waits.add(async move { (at, one.await) });
    }
    let mut done = Vec::new();
    for _ in 0..waits.0.len() {
        done.push(waits.next().await);
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, done)| done).collect()
}
