//! What a worker requests, at random.

use super::HOST_TIMEOUT;
use diesel_dbsemaphore::Request;
use rand::{Rng, rngs::SmallRng};
use std::time::Duration;

/// What is asked for.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) semaphore: &'static str,
    pub(super) tickets: u32,
    /// None: does not wait. The inner one: for ever.
    pub(super) wait: Option<Option<Duration>>,
    pub(super) hold: Duration,
}

impl Wish {
    pub(super) fn request(&self) -> Request<'static> {
        let request = Request::new(self.semaphore)
            .tickets(self.tickets)
            .host_timeout(HOST_TIMEOUT);
        match self.wait {
            None => request,
            Some(None) => request.wait_forever(),
            Some(Some(limit)) => request.wait(limit),
        }
    }

    pub(super) fn draw(random: &mut SmallRng) -> Self {
        let hold = Duration::from_millis(match random.random_range(0..100) {
            0..90 => random.random_range(0..20),
            90..98 => random.random_range(50..300),
            _ => random.random_range(1000..2000),
        });
        let (semaphore, tickets) = match random.random_range(0..100) {
            0..30 => ("one", 1),
            30..60 => ("few", random.random_range(1..=3)),
            60..85 => ("many", random.random_range(1..=3)),
            // Nobody waits for this one: so each refusal has to have its reason in who holds tickets.
            _ => {
                return Wish {
                    semaphore: "quick",
                    tickets: 1,
                    wait: None,
                    hold,
                };
            }
        };
        let wait = match random.random_range(0..100) {
            0..35 => None,
            35..55 => Some(Some(Duration::from_millis(30))),
            55..75 => Some(Some(Duration::from_millis(300))),
            75..90 => Some(Some(Duration::from_secs(3))),
            _ => Some(None),
        };
        Wish {
            semaphore,
            tickets,
            wait,
            hold,
        }
    }
}
