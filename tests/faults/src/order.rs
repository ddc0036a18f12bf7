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

/// So many looks that each waiter whose time is over has left.
const LONG_WAIT: u64 = 400;

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
    /// The look that caused it.
    look: u64,
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
    /// The next look has to show the same waits. If there is `doubt`, the waiter has to become the head, or to wait for long.
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

        let mut overtakings = Vec::new();
        for suspicion in std::mem::take(&mut self.suspicions) {
            let now: Option<&Stay> = stays.get(&suspicion.waiter);
            let Some(now) = now.filter(|stay| stay.wait == suspicion.wait) else {
                continue;
            };
            // On a busy machine, a waiter whose time is over is shown for some looks more.
            if self.doubt == 0 || now.is_head || self.looks > suspicion.look + LONG_WAIT {
                let (semaphore, pid) = suspicion.waiter;
                let head = suspicion.head;
                overtakings.push(format!(
                    "backend {head} overtook {pid} in the queue of {semaphore}"
                ));
            } else {
                self.suspicions.push(suspicion);
            }
        }

        for head in new_heads {
            let joined = stays[&head].joined;
            let overtaken = stays.iter().filter(|(waiter, stay)| {
                waiter.0 == head.0 && !stay.is_head && stay.waits + self.doubt < joined
            });
            self.suspicions
                .extend(overtaken.map(|(waiter, stay)| Suspicion {
                    look: self.looks,
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
mod tests;
