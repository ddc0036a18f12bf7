use crate::{Request, request::Patience};
use std::time::{Duration, Instant};

/// Until when a request waits, by our clock, which nobody can set back.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    /// None for ever.
    limit: Option<Duration>,
}

impl Deadline {
    /// None if the request doesn't wait at all.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let limit = match request.patience() {
            Patience::Forever => None,
            Patience::AtMost(Duration::ZERO) => return None,
            Patience::AtMost(limit) => Some(limit),
        };
        Some(Self {
            began: Instant::now(),
            limit,
        })
    }

    pub(crate) fn waited(self) -> Duration {
        self.began.elapsed()
    }

    /// None for ever.
    pub(crate) fn left(self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.waited()))
    }

    /// As PostgreSQL counts: rounded up, and clamped to what its clock can be added to.
    pub(crate) fn left_for_server(self) -> Option<i64> {
        const TEN_YEARS: i64 = 10 * 365 * 24 * 3600 * 1000;
        self.left().map(|left| {
            let millis = left.as_nanos().div_ceil(1_000_000);
            i64::try_from(millis).unwrap_or(TEN_YEARS).min(TEN_YEARS)
        })
    }
}
