//! Whether each refusal was right.

use super::{History, operation::Outcome};
use crate::log::Time;

impl History {
    pub(super) fn check_refusals(&self, found: &mut Vec<String>) {
        for (semaphore, &size) in &self.sizes {
            let mut changes: Vec<(Time, i64)> = Vec::new();
            for operation in self.operations.iter().filter(|o| o.semaphore == *semaphore) {
                let (until, count) = match &operation.outcome {
                    Outcome::Held(hold) => (hold.gone(), hold.ids.len()),
                    Outcome::Refused if operation.tickets > 1 || operation.waits => {
                        (operation.answered, size)
                    }
                    Outcome::Refused => continue,
                    Outcome::Unknown => (operation.answered + operation.tail, size),
                };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                // While it waits, it is in the queue.
                let early = if operation.waits { size as i64 } else { 0 };
                changes.push((operation.called, count.max(early)));
                if early > count {
                    changes.push((operation.answered, count - early));
                }
                changes.push((until, -count));
            }
            changes.sort_by_key(|change| change.0);
            let mut level = 0;
            let levels: Vec<(Time, i64)> = changes
                .iter()
                .map(|(time, change)| {
                    level += change;
                    (*time, level)
                })
                .collect();
            for operation in self.operations.iter().filter(|o| {
                o.semaphore == *semaphore
                    && matches!(o.outcome, Outcome::Refused)
                    && o.tickets == 1
                    && !o.waits
            }) {
                let first = levels.partition_point(|level| level.0 <= operation.called);
                let before = first.checked_sub(1).map_or(0, |before| levels[before].1);
                let most = levels[first..]
                    .iter()
                    .take_while(|level| level.0 <= operation.answered)
                    .map(|level| level.1)
                    .fold(before, i64::max);
                if most < size as i64 {
                    found.push(format!(
                        "{:?} was refused a ticket of {semaphore} at {:?} when only {most} can have been held",
                        operation.name, operation.answered
                    ));
                }
            }
        }
    }
}
