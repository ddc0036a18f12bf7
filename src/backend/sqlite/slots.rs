//! The slots of a semaphore: the numbers of its tickets.

use crate::backend::random_order::random_order;
use std::ops::RangeInclusive;

/// Ranges in ascending order, which do not meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(Vec<RangeInclusive<u32>>);

impl Slots {
    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(length).sum()
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        let after = self.0.partition_point(|range| *range.end() < slot);
        self.0.get(after).is_some_and(|range| range.contains(&slot))
    }

    pub(super) fn ranges(&self) -> &[RangeInclusive<u32>] {
        &self.0
    }

    pub(super) fn descending(&self) -> Vec<u32> {
        self.0.iter().cloned().flatten().rev().collect()
    }

    /// Each slot once: `first`, if it is one of them, and then the others.
    pub(super) fn in_random_order(&self, first: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        let first = first.filter(|slot| self.contains(*slot));
        let all = random_order(self.count()).filter_map(|n| self.nth(n));
        first
            .into_iter()
            .chain(all.filter(move |slot| Some(*slot) != first))
    }

    fn nth(&self, mut n: u32) -> Option<u32> {
        for range in &self.0 {
            if n < length(range) {
                return Some(range.start() + n);
            }
            n -= length(range);
        }
        None
    }

    /// These slots, and the lowest others, until there are `count`.
    pub(super) fn grown_to(&self, count: u32) -> Self {
        let add_count = count.saturating_sub(self.count());
        let others = (0..).filter(|slot| !self.contains(*slot));
        let added = others.take(add_count as usize);
        self.0.iter().cloned().flatten().chain(added).collect()
    }

    pub(super) fn without(&self, removed: &[u32]) -> Self {
        let removed: std::collections::HashSet<_> = removed.iter().collect();
        let all = self.0.iter().cloned().flatten();
        all.filter(|slot| !removed.contains(slot)).collect()
    }
}

impl FromIterator<RangeInclusive<u32>> for Slots {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u32>>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl FromIterator<u32> for Slots {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut slots: Vec<u32> = slots.into_iter().collect();
        slots.sort_unstable();
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        for slot in slots {
            match ranges.last_mut() {
                Some(last) if last.end() + 1 == slot => *last = *last.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        Self(ranges)
    }
}

fn length(range: &RangeInclusive<u32>) -> u32 {
    range.end() - range.start() + 1
}

#[cfg(test)]
mod tests {
    use super::Slots;
    use std::collections::BTreeSet;

    fn slots(slots: &[u32]) -> Slots {
        slots.iter().copied().collect()
    }

    #[test]
    fn slots_are_grouped_into_ranges() {
        assert_eq!(slots(&[7, 1, 0, 2]).ranges(), [0..=2, 7..=7]);
        assert_eq!(slots(&[]).ranges(), []);
        assert_eq!(slots(&[7, 1, 0, 2]).count(), 4);
    }

    #[test]
    fn growing_fills_the_lowest_gaps() {
        assert_eq!(slots(&[1, 4]).grown_to(4).ranges(), [0..=2, 4..=4]);
        assert_eq!(slots(&[]).grown_to(3).ranges(), [0..=2]);
        assert_eq!(slots(&[5]).grown_to(1).ranges(), [5..=5]);
    }

    #[test]
    fn removed_slots_leave_gaps() {
        assert_eq!(
            slots(&[0, 1, 2, 3]).without(&[1, 3]).ranges(),
            [0..=0, 2..=2]
        );
    }

    #[test]
    fn contains_exactly_its_slots() {
        let some = slots(&[1, 2, 5]);
        let found: Vec<u32> = (0..9).filter(|slot| some.contains(*slot)).collect();
        assert_eq!(found, [1, 2, 5]);
    }

    #[test]
    fn random_order_has_each_slot_once() {
        for count in [0, 1, 2, 3, 6, 12, 30, 97, 210] {
            let all = slots(&[2]).grown_to(count);
            for first in (0..50).map(Some).chain([None]) {
                let tried: Vec<u32> = all.in_random_order(first).collect();
                if first.is_some_and(|slot| all.contains(slot)) {
                    assert_eq!(tried.first().copied(), first);
                }
                let distinct: BTreeSet<u32> = tried.iter().copied().collect();
                assert_eq!(tried.len(), distinct.len());
                assert_eq!(distinct.into_iter().collect::<Slots>(), all);
            }
        }
    }
}
