//! The faults: which there are, and in which order a seed draws them.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillHolder,
    KillWaiter,
    TerminateHolder,
    TerminateWaiter,
    CancelHolder,
    CancelWaiter,
    ResizeUp,
    ResizeDown,
    DestroyAndMake,
    IdleTimeout,
    TransactionTimeout,
    StatementTimeout,
    LockTimeout,
    RefuseConnections,
    StopWorker,
    StopBackend,
    LinkDown,
    RestartFast,
    RestartImmediate,
    KillBackend,
    KillPostmaster,
    FailOver,
    RestartPooler,
    StopServer,
    /// The last two are done by workers themselves.
    Panic,
    Crash,
}

use Kind::*;

impl Kind {
    /// In the order of the report.
    pub(crate) const ALL: [(Kind, &'static str); 26] = [
        (KillHolder, "kill -9 of a holder"),
        (KillWaiter, "kill -9 of a waiter"),
        (Crash, "holder kills itself"),
        (Panic, "holder panics"),
        (StopWorker, "process stopped for 7 s"),
        (TerminateHolder, "pg_terminate_backend of a holder"),
        (TerminateWaiter, "pg_terminate_backend of a waiter"),
        (CancelHolder, "pg_cancel_backend of a holder"),
        (CancelWaiter, "pg_cancel_backend of a waiter, 1 to 3 times"),
        (StopBackend, "holder's backend stopped for 7 s"),
        (StopServer, "server stopped for 7 s"),
        (KillBackend, "kill -9 of a holder's backend"),
        (KillPostmaster, "kill -9 of the postmaster"),
        (RestartFast, "server restarted (fast)"),
        (RestartImmediate, "server restarted (immediate)"),
        (FailOver, "server killed, standby promoted"),
        (RestartPooler, "PgBouncer restarted"),
        (LinkDown, "link down for 9 s"),
        (IdleTimeout, "idle_in_transaction_session_timeout"),
        (TransactionTimeout, "transaction_timeout"),
        (StatementTimeout, "statement_timeout"),
        (LockTimeout, "lock_timeout"),
        (RefuseConnections, "connections refused"),
        (ResizeUp, "make: more tickets"),
        (ResizeDown, "make: fewer tickets"),
        (DestroyAndMake, "destroy and make"),
    ];

    pub(crate) fn title(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).unwrap().1
    }

    /// What `FAULTS=` says.
    pub(crate) fn word(self) -> String {
        let mut word = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !word.is_empty() {
                word.push('-');
            }
            word.push(letter.to_ascii_lowercase());
        }
        word
    }
}

/// Kinds that are done one after another, with a pause between them; lanes go on beside each other.
pub(crate) struct Lane {
    /// How many of each are in a bag; one bag is drawn empty before the next one is begun.
    pub(crate) bag: &'static [(Kind, usize)],
    pub(crate) pause: Duration,
}

pub(crate) const LANES: [Lane; 6] = [
    Lane {
        bag: &[(KillHolder, 1), (TerminateHolder, 1), (CancelHolder, 1)],
        pause: Duration::from_millis(100),
    },
    Lane {
        bag: &[(KillWaiter, 2), (TerminateWaiter, 2), (CancelWaiter, 3)],
        pause: Duration::from_millis(30),
    },
    Lane {
        bag: &[
            (ResizeUp, 2),
            (ResizeDown, 2),
            (DestroyAndMake, 1),
            (IdleTimeout, 1),
            (TransactionTimeout, 1),
            (StatementTimeout, 1),
            (LockTimeout, 1),
            (RefuseConnections, 1),
        ],
        pause: Duration::from_millis(500),
    },
    Lane {
        bag: &[(StopWorker, 1)],
        pause: Duration::from_millis(500),
    },
    Lane {
        bag: &[(LinkDown, 1)],
        pause: Duration::from_millis(500),
    },
    // A server whose backend is stopped neither ends nor starts, so these exclude each other.
    Lane {
        bag: &[
            (RestartFast, 1),
            (RestartImmediate, 1),
            (KillBackend, 1),
            (KillPostmaster, 1),
            (FailOver, 1),
            (RestartPooler, 1),
            (StopBackend, 1),
            (StopServer, 1),
        ],
        pause: Duration::from_secs(1),
    },
];

/// What a lane does, one after another. It depends on nothing but the seed, and so do the choices made for each: they
/// are drawn from a source of its own, so that the next one doesn't depend on what became of this one.
pub(crate) struct Draws {
    all: Vec<Kind>,
    bag: Vec<Kind>,
    random: SmallRng,
}

impl Draws {
    /// None if none of these kinds is in that lane.
    pub(crate) fn new(seed: u64, lane: usize, kinds: &[Kind]) -> Option<Self> {
        let all: Vec<Kind> = LANES[lane]
            .bag
            .iter()
            .filter(|(kind, _)| kinds.contains(kind))
            .flat_map(|&(kind, times)| vec![kind; times])
            .collect();
        (!all.is_empty()).then(|| Self {
            all,
            bag: Vec::new(),
            random: SmallRng::seed_from_u64(seed.wrapping_mul(31) + lane as u64),
        })
    }
}

impl Iterator for Draws {
    type Item = (Kind, SmallRng);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.all);
            self.bag.shuffle(&mut self.random);
        }
        let kind = self.bag.pop()?;
        Some((kind, SmallRng::seed_from_u64(self.random.random())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, lane: usize) -> Vec<(Kind, u64)> {
        let kinds = Kind::ALL.map(|(kind, _)| kind);
        Draws::new(seed, lane, &kinds)
            .unwrap()
            .take(100)
            .map(|(kind, mut own)| (kind, own.random()))
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        for lane in 0..LANES.len() {
            assert_eq!(drawn(7, lane), drawn(7, lane));
            assert_ne!(drawn(7, lane), drawn(8, lane));
        }
    }

    #[test]
    fn every_kind_but_the_workers_own_is_drawn() {
        let all: Vec<Kind> = (0..LANES.len())
            .flat_map(|lane| drawn(1, lane))
            .map(|(kind, _)| kind)
            .collect();
        for (kind, _) in Kind::ALL {
            assert_eq!(all.contains(&kind), !matches!(kind, Panic | Crash));
        }
    }
}
