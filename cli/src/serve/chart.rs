//! Draws the use of the last minutes.

use super::history::{History, Most, POINTS};

/// The height of the part for tickets in use. The bars of waiters are below it.
const USE: u32 = 24;
const WAITING: u32 = 8;

/// A drawing of 120 by 32 units, 2 units wide for each point.
#[derive(Default)]
pub(super) struct Chart {
    /// An SVG path: the tickets in use, as an area.
    pub(super) in_use: String,
    /// An SVG path: the waiters, as bars.
    pub(super) waiting: String,
    /// The most of all points.
    pub(super) most_in_use: u32,
    pub(super) most_waiting: u32,
}

impl Chart {
    pub(super) fn draw(history: &History, now: u64, size: u32) -> Self {
        let points: Vec<(usize, Most)> = history.points(now).collect();
        let most = |of: fn(&Most) -> u32| points.iter().map(|(_, most)| of(most)).max();
        let most_in_use = most(|most| most.in_use).unwrap_or(0);
        let most_waiting = most(|most| most.waiting).unwrap_or(0);
        let mut chart = Self {
            most_in_use,
            most_waiting,
            ..Self::default()
        };
        for (place, most) in points {
            let x = place.min(POINTS) * 2;
            if let Some(height) = height(most.in_use, size.max(most_in_use), USE) {
                chart.in_use += &format!("M{x} {USE}v-{height}h2v{height}z");
            }
            // One waiter has a quarter of the height at least.
            if let Some(height) = height(most.waiting, most_waiting.max(4), WAITING - 1) {
                chart.waiting += &format!("M{x} {}v-{height}h2v{height}z", USE + WAITING);
            }
        }
        chart
    }
}

/// At least 1 unit, or `None` for nothing.
fn height(part: u32, whole: u32, height: u32) -> Option<u64> {
    let scaled = u64::from(part) * u64::from(height) / u64::from(whole.max(1));
    (part > 0).then_some(scaled.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel_dbsemaphore::Usage;

    #[test]
    fn a_full_semaphore_has_the_full_height() {
        let mut usage = Usage::default();
        (usage.size, usage.in_use, usage.waiting) = (3, 3, 1);
        let mut history = History::default();
        history.record(5, &usage);
        let chart = Chart::draw(&history, 6, usage.size);
        assert_eq!(chart.in_use, "M116 24v-24h2v24z");
        assert_eq!(chart.waiting, "M116 32v-1h2v1z");
        assert_eq!(Chart::draw(&History::default(), 6, 0).in_use, "");
    }
}
