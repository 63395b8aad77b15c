//! Which cells a thread writes: it takes a seat when it first counts, and gives it back at its end.
//!
//! The next thread that takes the seat goes on in the same cells; the lock orders the two.

use ottla_locks::Mutex;

/// How many threads have a seat of their own; later ones share one.
pub const SEATS: usize = 64;

/// A bit for each seat that is taken.
static TAKEN: Mutex<u64> = Mutex::new(0);

thread_local! {
    static SEAT: Seat = Seat::take();
}

/// The seat of this thread; [`SEATS`] is the shared one.
pub fn seat() -> usize {
    // A thread that counts while it ends has given its seat back.
    SEAT.try_with(|seat| seat.0).unwrap_or(SEATS)
}

struct Seat(usize);

impl Seat {
    fn take() -> Self {
        let mut taken = TAKEN.lock();
        let free = taken.trailing_ones() as usize;
        if free < SEATS {
            *taken |= 1 << free;
        }
        Self(free)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0 < SEATS {
            *TAKEN.lock() &= !(1 << self.0);
        }
    }
}
