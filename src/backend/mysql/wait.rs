//! What a waiter waits for, and until when.

use super::search::Semaphore;
use std::time::{Duration, Instant};

pub(super) struct Wait<'a> {
    /// As it was at `found_at`.
    pub(super) semaphore: Semaphore,
    pub(super) found_at: Instant,
    pub(super) needed: i32,
    pub(super) label: Option<&'a str>,
    /// By which others can cancel it.
    pub(super) number: i64,
    pub(super) deadline: Option<Instant>,
    /// In seconds.
    pub(super) host_timeout: i32,
    pub(super) highest_slot_first: bool,
    /// It was refused before. So nobody may overtake it from the moment at which it is the head.
    pub(super) has_searched: bool,
}

/// How many seconds a waiter in a transaction of the caller's may be silent.
pub(super) const HOST_TIMEOUT: i32 = 30;

/// `None` if it is too far away for a clock.
pub(super) fn deadline(timeout_ms: i64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_millis(timeout_ms.unsigned_abs()))
}

impl Wait<'_> {
    /// Without limit, a year.
    pub(super) fn remaining(&self) -> Duration {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.deadline.map_or(YEAR, |deadline| {
            deadline.saturating_duration_since(Instant::now()).min(YEAR)
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }
}
