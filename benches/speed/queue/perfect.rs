use super::Load;
use crate::kit::Dice;
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Returns the waits of a queue in which the next waiter has a ticket 1 ms after its release.
pub(crate) fn perfect(load: Load, time: Duration) -> Vec<Duration> {
    let hand_off = Duration::from_millis(1);
    let mut free: BinaryHeap<Reverse<Duration>> =
        (0..load.tickets).map(|_| Reverse(Duration::ZERO)).collect();
    let mut dice: Vec<Dice> = (0..load.workers).map(Dice::new).collect();
    let mut queue: BinaryHeap<Reverse<(Duration, usize)>> = (0..dice.len())
        .map(|number| Reverse((Duration::ZERO, number)))
        .collect();
    let mut waits = Vec::new();
    while let (Some(Reverse((joined, worker))), Some(Reverse(at))) = (queue.pop(), free.pop()) {
        if joined > time {
            break;
        }
        let got = if at > joined { at + hand_off } else { joined };
        waits.push(got - joined);
        let done = got + dice[worker].about(load.hold);
        free.push(Reverse(done));
        queue.push(Reverse((done, worker)));
    }
    waits
}
