use crate::{Request, request::WaitLimit};
use std::time::{Duration, Instant};

/// The time until which a request waits, by the monotonic clock of this process.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    began: Instant,
    /// `None` if the request waits without limit.
    limit: Option<Duration>,
}

impl Deadline {
    /// `None` if the request does not wait.
    pub(crate) fn from_request(request: &Request<'_>) -> Option<Self> {
        let limit = match request.wait_limit() {
            WaitLimit::Forever => None,
            WaitLimit::AtMost(Duration::ZERO) => return None,
            WaitLimit::AtMost(limit) => Some(limit),
        };
        Some(Self {
            began: Instant::now(),
            limit,
        })
    }

    pub(crate) fn waited(self) -> Duration {
        self.began.elapsed()
    }

    /// `None` if the request waits without limit.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.waited()))
    }

    /// Rounded up, and at most ten years, which each server can add to its clock.
    pub(crate) fn remaining_ms(self) -> Option<i64> {
        const TEN_YEARS: i64 = 10 * 365 * 24 * 3600 * 1000;
        self.remaining().map(|remaining| {
            let millis = remaining.as_nanos().div_ceil(1_000_000);
            i64::try_from(millis).unwrap_or(TEN_YEARS).min(TEN_YEARS)
        })
    }
}
