use crate::visitors::Visitors;
use std::{thread, time::Duration};

/// The third party: slow, and fragile. It stands in for an HTTP client.
pub(crate) struct Carrier {
    time: Duration,
    pub(crate) visitors: Visitors,
}

#[derive(Debug, thiserror::Error)]
#[error("the carrier doesn't know parcel {0}")]
pub(crate) struct UnknownParcel(i32);

impl Carrier {
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            time,
            visitors: Visitors::default(),
        }
    }

    /// In cents.
    pub(crate) fn price(&self, parcel: i32) -> Result<i32, UnknownParcel> {
        let _visit = self.visitors.enter();
        thread::sleep(self.time_of(self.visitors.in_all()));
        if parcel <= 0 {
            return Err(UnknownParcel(parcel));
        }
        Ok(300 + parcel % 1000)
    }

    /// From 0.6 to 1.4 times the average, so that the calls don't march in step.
    fn time_of(&self, call: u64) -> Duration {
        let percent = 60 + u32::try_from(call * 37 % 81).unwrap_or(0);
        self.time * percent / 100
    }
}
