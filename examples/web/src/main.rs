//! A small blocking web application, as a user of diesel-dbsemaphore would write it: `make web`.
//!
//! It quotes the carriage of parcels. The price comes from a carrier, which accepts three calls at a time from all
//! machines together. Reports over all quotes are heavy, so two are written at a time.
//!
//! | request | what it does | guarded by |
//! | --- | --- | --- |
//! | `POST /quotes/17` | asks the carrier for the price of parcel 17, and stores it | `sem::with_ticket`, waits for a second |
//! | `POST /reports` | writes a report | `sem::require` in the report's transaction, does not wait |
//! | `GET /` | shows holders and waiters | |
//! | `GET /metrics` | shows the same for machines, and the largest number of holders | |
//!
//! A request that gets no ticket is answered with 503 and `Retry-After`.
//!
//! # Guard, or a call in your transaction?
//!
//! [`reports`] has a transaction anyway, and the guarded work happens in it. So it calls `sem::require` there: one
//! more statement, no more connections, and the commit releases the ticket. The ticket depends on that transaction: an
//! error in a later statement aborts it, and a wait would occupy a connection and a snapshot of the application. So
//! this request does not wait.
//!
//! [`quotes`] calls another service, for which a transaction of the application would be of no use. The guard begins
//! one on a connection of its own, which only holds the ticket: three round trips, and one connection for each holder
//! and waiter.
//!
//! # Two pools
//!
//! Tickets have a pool of their own, in [`pools`]: see the chapter on production in the guide. The status page uses
//! the other pool. So it answers when all tickets and their connections are in use.
//!
//! # How many requests may wait
//!
//! A waiting request occupies a thread of `web::block`. There are 512 of them, divided by the number of workers.
//! Further requests queue before them without a limit, quick ones behind slow ones. A pool has the same problem:
//! threads that wait for a connection are in no queue of the semaphore, and each is blocked for up to the pool's
//! `connection_timeout`. Therefore:
//!
//! * Each guarded section has a [`door`], which admits as many requests as its pool has connections. Others are
//!   answered with 503 at once, before they occupy a thread.
//! * The ticket pool has a connection for each ticket, and some for waiters. These are in the queue in the database,
//!   first come, first served, with all other machines.
//! * The wait is bounded, to less than the timeout of a client or proxy: a wait continues after its client has
//!   disconnected.
//! * `connection_timeout` is 1 s instead of 30 s: a request waits for this time if the database does not answer.
//! * Each worker has as many threads as both pools have connections, and so one for each admitted request.
//!
//! # Settings
//!
//! The environment has `DATABASE_URL` and the settings of [`config`]. To measure under load, in a release build:
//!
//! ```sh
//! wrk --connections 64 --threads 2 --duration 20 --latency --script examples/web/load.lua http://127.0.0.1:8080/quotes/17
//! wrk --connections 64 --threads 2 --duration 20 --latency --script examples/web/load.lua http://127.0.0.1:8080/reports
//! ```

mod carrier;
mod config;
mod door;
mod error;
mod metrics;
mod page;
mod pools;
mod quotes;
mod reports;
mod schema;
mod serve;
mod shop;
mod visitors;

use crate::{config::Config, pools::Pools, shop::Shop};
use std::process::ExitCode;

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Fallible<()> {
    let config = Config::from_environment()?;
    let pools = Pools::open(&config)?;
    shop::prepare(&pools, &config)?;
    serve::until_told_to_stop(Shop::new(config, pools))
}
