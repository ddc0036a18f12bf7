//! How much of a semaphore was in use over the last minutes.

use diesel_dbsemaphore::Usage;
use std::{collections::VecDeque, time::Duration};

/// How many points a chart has.
pub(super) const POINTS: usize = 60;

/// The time of a point. With a longer interval between queries, that interval.
const POINT: Duration = Duration::from_secs(5);

pub(super) fn point_time(interval: Duration) -> Duration {
    interval.max(POINT)
}

/// The most that was seen during one point.
#[derive(Clone, Copy, Default)]
pub(super) struct Most {
    pub(super) in_use: u32,
    pub(super) waiting: u32,
}

/// The last points, the newest at the end. `None` where nothing was seen.
#[derive(Clone, Default)]
pub(super) struct History {
    points: VecDeque<Option<Most>>,
    newest: u64,
}

impl History {
    /// Records what was seen at the point with this number.
    pub(super) fn record(&mut self, number: u64, usage: &Usage) {
        let skipped = usize::try_from(number.saturating_sub(self.newest)).unwrap_or(POINTS);
        for _ in 0..skipped.min(POINTS) {
            self.points.push_back(None);
        }
        self.newest = self.newest.max(number);
        if self.points.is_empty() {
            self.points.push_back(None);
        }
        while self.points.len() > POINTS {
            self.points.pop_front();
        }
        if let Some(last) = self.points.back_mut() {
            let most = last.get_or_insert_default();
            most.in_use = most.in_use.max(usage.in_use);
            most.waiting = most.waiting.max(usage.waiting);
        }
    }

    /// The points with their places, 0 for the oldest of [`POINTS`], as they are at the point with this number.
    pub(super) fn points(&self, now: u64) -> impl Iterator<Item = (usize, Most)> + '_ {
        let passed = usize::try_from(now.saturating_sub(self.newest)).unwrap_or(POINTS);
        let points = self.points.iter().rev().enumerate();
        points.filter_map(move |(age, most)| {
            Some(((POINTS - 1).checked_sub(age + passed)?, (*most)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(in_use: u32) -> Usage {
        let mut usage = Usage::default();
        usage.in_use = in_use;
        usage
    }

    fn shown(history: &History, now: u64) -> Vec<(usize, u32)> {
        let points = history.points(now);
        points.map(|(place, most)| (place, most.in_use)).collect()
    }

    #[test]
    fn a_point_has_the_most_and_moves_on() {
        let mut history = History::default();
        for in_use in [1, 3, 2] {
            history.record(7, &usage(in_use));
        }
        history.record(10, &usage(1));
        assert_eq!(shown(&history, 10), [(59, 1), (56, 3)]);
        assert_eq!(shown(&history, 12), [(57, 1), (54, 3)]);
        assert_eq!(shown(&history, 1000), []);
        history.record(u64::MAX, &usage(4));
        assert_eq!(shown(&history, u64::MAX), [(59, 4)]);
    }
}
