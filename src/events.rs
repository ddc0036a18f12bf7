//! Lists the events that the crate logs through the [`log`] crate. This module has no functions.
//!
//! Each event has a target of its own, by which it can be switched on, routed and counted, and key-values beside its
//! message. Targets, levels and keys are part of the public API. Messages are not.
//!
//! | target | level | when | keys |
//! | --- | --- | --- | --- |
//! | `diesel_dbsemaphore::acquired` | debug | a request acquired its tickets | `semaphore`, `tickets`, `fencing_token`, `label` |
//! | `diesel_dbsemaphore::waited` | debug | a request that may wait acquired its tickets; just before `acquired` | `semaphore`, `label`, `waited_ms` |
//! | `diesel_dbsemaphore::refused` | debug | a request that does not wait found too few tickets available | `semaphore`, `label` |
//! | `diesel_dbsemaphore::timed_out` | info | a request that waits reached its time limit | `semaphore`, `label`, `waited_ms` |
//! | `diesel_dbsemaphore::released` | debug | a guard released its tickets | `semaphore`, `tickets`, `fencing_token`, `held_ms` |
//! | `diesel_dbsemaphore::lost` | warn | a guard or its watch detected that its tickets were lost; once for each guard | `semaphore`, `tickets`, `fencing_token`, `held_ms`, `reason` |
//! | `diesel_dbsemaphore::created` | info | [`ensure`](crate::ensure) or [`make`](crate::make) created a semaphore | `semaphore`, `size` |
//! | `diesel_dbsemaphore::resized` | info | [`make`](crate::make) changed the size of a semaphore | `semaphore`, `size` |
//! | `diesel_dbsemaphore::destroyed` | info | [`destroy`](crate::destroy) deleted a semaphore | `semaphore` |
//!
//! * `tickets` is a list of ids, such as `1,2`. `label` is null if there is none. Times are whole milliseconds by
//!   the caller's clock.
//! * When your transaction ends, its tickets are released without an event.
//! * The last three events are logged when the call returns. In your transaction, that is before you commit.
//!
//! A request that does not wait logs nothing above debug. Further messages, whose targets are names of modules, are for
//! debugging and not stable.
//!
//! ```
//! use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
//! use log::{LevelFilter, Log, Metadata, Record, kv::Key};
//!
//! /// Counts events instead of writing lines.
//! struct Metrics;
//!
//! impl Log for Metrics {
//!     fn enabled(&self, metadata: &Metadata<'_>) -> bool {
//!         metadata.target().starts_with("diesel_dbsemaphore::")
//!     }
//!     fn log(&self, record: &Record<'_>) {
//!         let semaphore = record.key_values().get(Key::from("semaphore"));
//!         if let ("diesel_dbsemaphore::lost", Some(semaphore)) = (record.target(), semaphore) {
//!             println!("a ticket of {semaphore} was lost");
//!         }
//!     }
//!     fn flush(&self) {}
//! }
//!
//! log::set_logger(&Metrics).expect("no other logger");
//! log::set_max_level(LevelFilter::Debug);
//! # let database = stand::Database::create();
//! # let mut conn = database.connect();
//! # sem::run_migrations(&mut conn)?;
//! # sem::ensure(&mut conn, "reports", 3)?;
//! drop(SemaphoreTicket::require(conn, "reports")?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use crate::{Request, Ticket, deadline::Deadline};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// Logs the outcome of a request. Without a deadline, the request does not wait.
pub(crate) fn log_acquire_outcome(
    request: &Request<'_>,
    deadline: Option<Deadline>,
    acquired: Option<&Ticket>,
) {
    let (semaphore, label) = (request.semaphore(), request.label_text());
    match (
        acquired,
        deadline.map(|deadline| milliseconds(deadline.waited())),
    ) {
        (None, None) => log::debug!(
            target: "diesel_dbsemaphore::refused", semaphore, label;
            "semaphore {semaphore:?} has too few tickets available"
        ),
        (None, Some(waited_ms)) => log::info!(
            target: "diesel_dbsemaphore::timed_out", semaphore, label, waited_ms;
            "no ticket of semaphore {semaphore:?} within {waited_ms} ms"
        ),
        (Some(ticket), waited_ms) => {
            if let Some(waited_ms) = waited_ms {
                log::debug!(
                    target: "diesel_dbsemaphore::waited", semaphore, label, waited_ms;
                    "waited {waited_ms} ms for semaphore {semaphore:?}"
                );
            }
            log::debug!(
                target: "diesel_dbsemaphore::acquired",
                semaphore, tickets:% = ticket.listed(), fencing_token = ticket.fencing_token(), label;
                "acquired {ticket}"
            );
        }
    }
}

/// Logs that a guard, which had acquired the tickets at `since`, has released them.
pub(crate) fn log_released(ticket: &Ticket, since: Instant) {
    log::debug!(
        target: "diesel_dbsemaphore::released",
        semaphore = ticket.semaphore(), tickets:% = ticket.listed(), fencing_token = ticket.fencing_token(),
        held_ms = milliseconds(since.elapsed());
        "released {ticket}"
    );
}

/// Logs that the tickets were lost, at an unknown time. To be called once for each guard. Without an error, the session
/// is alive, but its transaction has ended.
pub(crate) fn log_lost(ticket: &Ticket, since: Instant, error: Option<&impl fmt::Display>) {
    let reason = error.map_or_else(
        || "its transaction has ended".to_owned(),
        ToString::to_string,
    );
    log::warn!(
        target: "diesel_dbsemaphore::lost",
        semaphore = ticket.semaphore(), tickets:% = ticket.listed(), fencing_token = ticket.fencing_token(),
        held_ms = milliseconds(since.elapsed()), reason:%;
        "lost {ticket}: {reason}"
    );
}

pub(crate) fn log_created(semaphore: &str, size: u32) {
    log::info!(
        target: "diesel_dbsemaphore::created", semaphore, size;
        "semaphore {semaphore:?}: created with size {size}"
    );
}

pub(crate) fn log_resized(semaphore: &str, size: u32) {
    log::info!(
        target: "diesel_dbsemaphore::resized", semaphore, size;
        "semaphore {semaphore:?}: size set to {size}"
    );
}

pub(crate) fn log_destroyed(semaphore: &str) {
    log::info!(
        target: "diesel_dbsemaphore::destroyed", semaphore;
        "semaphore {semaphore:?}: destroyed"
    );
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
