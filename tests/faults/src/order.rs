//! Judges by looks at the queues whether somebody was overtaken. Knows nothing but their rows.

use std::collections::BTreeMap;

/// One session in the queue of one semaphore, as the server shows it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) semaphore: i64,
    pub(crate) pid: i64,
    pub(crate) is_head: bool,
    /// The transaction that waits, and since when. PostgreSQL writes it a moment after the session joined; until then, it
    /// shows nothing, or, after an error, what it showed for the wait before.
    pub(crate) wait: Option<String>,
}

/// Semaphore and session.
type Key = (i64, i64);

/// A session that has been in one queue in each look since, but for `doubt` looks in a row that did not show it.
struct Stay {
    /// The last look that showed it.
    seen: u64,
    is_head: bool,
    /// The look at which it had joined already. It may have left and joined again meanwhile: this errs to its favour.
    joined: u64,
    wait: Option<String>,
    /// The first look that showed this same wait.
    waits: u64,
}

/// A waiter that seems to have been in the queue before the one that has become its head.
struct Suspicion {
    head: i64,
    waiter: Key,
    wait: Option<String>,
}

/// What has to be known from one look to the next.
#[derive(Default)]
pub(crate) struct Order {
    /// One if the rows of a look are not of one time. Then a look may show a session and lack another one that joined before it,
    /// or was in the look before; the next look does not.
    pub(crate) doubt: u64,
    looks: u64,
    stays: BTreeMap<Key, Stay>,
    /// The next look has to show the same waits.
    suspicions: Vec<Suspicion>,
}

impl Order {
    /// Takes in the next look, and returns who was overtaken by the one before.
    pub(crate) fn look(&mut self, places: impl Iterator<Item = Place>) -> Vec<String> {
        self.looks += 1;
        let mut stays = BTreeMap::new();
        let mut new_heads = Vec::new();
        for place in places {
            let key = (place.semaphore, place.pid);
            let before = self.stays.get(&key);
            // A head that waits has left and joined again.
            let before = before.filter(|stay| place.is_head || !stay.is_head);
            if place.is_head && before.is_none_or(|stay| !stay.is_head) {
                new_heads.push(key);
            }
            let same_wait = before.filter(|stay| stay.wait.is_some() && stay.wait == place.wait);
            let stay = Stay {
                seen: self.looks,
                is_head: place.is_head,
                joined: before.map_or(self.looks, |stay| stay.joined),
                waits: same_wait.map_or(self.looks, |stay| stay.waits),
                wait: place.wait,
            };
            stays.insert(key, stay);
        }

        let confirmed = self.suspicions.drain(..).filter(|suspicion| {
            let now = stays.get(&suspicion.waiter);
            now.is_some_and(|stay: &Stay| stay.wait == suspicion.wait)
        });
        let overtakings = confirmed.map(|suspicion| {
            let (semaphore, pid) = suspicion.waiter;
            let head = suspicion.head;
            format!("backend {head} overtook {pid} in the queue of {semaphore}")
        });
        let overtakings = overtakings.collect();

        for head in new_heads {
            let joined = stays[&head].joined;
            let overtaken = stays.iter().filter(|(waiter, stay)| {
                waiter.0 == head.0 && !stay.is_head && stay.waits + self.doubt < joined
            });
            self.suspicions
                .extend(overtaken.map(|(waiter, stay)| Suspicion {
                    head: head.1,
                    waiter: *waiter,
                    wait: stay.wait.clone(),
                }));
        }
        for (key, stay) in std::mem::take(&mut self.stays) {
            if stay.seen + self.doubt >= self.looks {
                stays.entry(key).or_insert(stay);
            }
        }
        self.stays = stays;
        overtakings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: i64 = 1;
    const NEW: i64 = 2;
    const THIRD: i64 = 3;

    fn head(pid: i64) -> Place {
        Place {
            semaphore: 1,
            pid,
            is_head: true,
            wait: None,
        }
    }

    fn waits(pid: i64, wait: &str) -> Place {
        Place {
            is_head: false,
            wait: Some(wait.to_owned()),
            ..head(pid)
        }
    }

    /// In a wait that has just begun.
    fn joins(pid: i64) -> Place {
        Place {
            is_head: false,
            ..head(pid)
        }
    }

    fn overtakings(looks: &[&[Place]]) -> Vec<String> {
        let mut order = Order::default();
        let look = |look: &&[Place]| order.look(look.iter().cloned());
        looks.iter().flat_map(look).collect()
    }

    fn assert_in_order(looks: &[&[Place]]) {
        assert_eq!(overtakings(looks), Vec::<String>::new());
    }

    #[test]
    fn a_head_that_joined_later_has_overtaken() {
        let overtaking = ["backend 2 overtook 1 in the queue of 1"];
        let after = [head(NEW), waits(OLD, "a")];
        let seen_to_wait: &[&[Place]] = &[
            &[head(THIRD), waits(OLD, "a")],
            &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
            &after,
            &after,
        ];
        assert_eq!(overtakings(seen_to_wait), overtaking);
        let not_seen_to_wait: &[&[Place]] = &[&[head(THIRD), waits(OLD, "a")], &after, &after];
        assert_eq!(overtakings(not_seen_to_wait), overtaking);
    }

    #[test]
    fn a_head_that_joins_again_has_overtaken() {
        let looks: &[&[Place]] = &[
            &[head(NEW), waits(THIRD, "c"), waits(OLD, "a")],
            &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
            &[head(NEW), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "a")],
        ];
        assert_eq!(
            overtakings(looks),
            ["backend 2 overtook 1 in the queue of 1"]
        );
    }

    #[test]
    fn two_that_join_between_two_looks_are_in_order() {
        assert_in_order(&[
            &[head(THIRD)],
            &[head(THIRD), waits(OLD, "a"), joins(NEW)],
            &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
            &[head(NEW), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "a")],
        ]);
    }

    #[test]
    fn a_waiter_that_joined_again_was_not_there_before() {
        // By another call, or in the same one after a deadlock.
        assert_in_order(&[
            &[head(THIRD), waits(OLD, "a")],
            &[head(THIRD), waits(NEW, "b"), waits(OLD, "c")],
            &[head(NEW), waits(OLD, "c")],
            &[head(NEW), waits(OLD, "c")],
        ]);
    }

    #[test]
    fn a_wait_without_a_start_may_be_a_former_one() {
        assert_in_order(&[
            &[head(THIRD), joins(OLD)],
            &[head(NEW), waits(OLD, "b")],
            &[head(NEW), waits(OLD, "b")],
        ]);
        assert_in_order(&[
            &[head(THIRD), waits(OLD, "a")],
            &[head(NEW), joins(OLD)],
            &[head(NEW), waits(OLD, "b")],
        ]);
    }

    #[test]
    fn a_wait_may_show_the_start_of_a_former_one_for_a_moment() {
        assert_in_order(&[
            &[head(THIRD), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "b")],
        ]);
        assert_in_order(&[
            &[head(THIRD), waits(NEW, "stale"), waits(OLD, "a")],
            &[head(THIRD), waits(NEW, "b"), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "a")],
            &[head(NEW), waits(OLD, "a")],
        ]);
    }

    #[test]
    fn looks_whose_rows_are_not_of_one_time_leave_doubt() {
        let overtakings = |looks: &[&[Place]]| -> Vec<String> {
            let mut order = Order {
                doubt: 1,
                ..Order::default()
            };
            let look = |look: &&[Place]| order.look(look.iter().cloned());
            looks.iter().flat_map(look).collect()
        };
        let after: &[Place] = &[head(NEW), waits(OLD, "a")];
        let (one, both): (&[Place], &[Place]) = (
            &[head(THIRD), waits(OLD, "a")],
            &[head(THIRD), waits(OLD, "a"), waits(NEW, "b")],
        );
        assert_eq!(overtakings(&[one, both, after, after]), [""; 0]);
        assert_eq!(
            overtakings(&[one, one, both, after, after]),
            ["backend 2 overtook 1 in the queue of 1"]
        );
        // A look may lack a session whose row is changing.
        assert_eq!(
            overtakings(&[both, both, one, one, both, after, after]).len(),
            1
        );
        assert_eq!(overtakings(&[both, both, one, after, after]), [""; 0]);
    }

    #[test]
    fn queues_of_different_semaphores_are_apart() {
        let other = |place: Place| Place {
            semaphore: 2,
            ..place
        };
        assert_in_order(&[
            &[waits(OLD, "a")],
            &[waits(OLD, "a"), other(head(NEW))],
            &[waits(OLD, "a"), other(head(NEW))],
        ]);
    }
}
