//! A small blocking web application, as a user of diesel-dbsemaphore would write it: `make web`.
//!
//! It quotes the carriage of parcels. The price comes from a carrier, who bears three calls at a time, from all of our
//! machines together; and of the reports over all quotes, which are heavy, two are written at a time.
//!
//! | request | what it does | guarded by |
//! | --- | --- | --- |
//! | `POST /quotes/17` | asks the carrier what parcel 17 costs, and keeps it | `sem::with_ticket`, waits for a second |
//! | `POST /reports` | writes a report | `sem::require` in the report's transaction, doesn't wait |
//! | `GET /` | who holds which ticket, and who waits | |
//! | `GET /metrics` | the same for machines, with how many were ever inside at once | |
//!
//! Who gets no ticket is told 503, with `Retry-After`.
//!
//! # Guard, or a call in your own transaction?
//!
//! [`reports`] has a transaction anyway, and what the ticket guards happens in it. So it calls `sem::require` there: one
//! more statement, no more connections, and the commit releases the ticket. The price is that the ticket lives and
//! dies with that transaction: an error in a later statement aborts it, and a ticket that is waited for keeps a
//! connection and a snapshot of the application's. So it doesn't wait.
//!
//! [`quotes`] calls somebody else, and an open transaction of the application's around that would serve nobody. There
//! the guard opens one on a connection of its own, which does nothing but hold the ticket: three round trips and one
//! connection, for everybody who holds a ticket and everybody who waits for one.
//!
//! # Two pools
//!
//! So tickets have a pool of their own, [`pools`]. With one pool for both, each of its connections could hold a
//! ticket (or wait for one) for a request that needs one more for its work: all of them wait for each other, and the
//! application starves beside an idle database. The status page, too, works on the other pool, and so it answers when
//! all tickets and their connections are taken.
//!
//! # How much may wait
//!
//! A request that waits keeps a thread of `web::block`. There are 512 of them, divided by the number of workers, and what
//! comes when all are taken queues before them without any limit, the quick requests behind the slow. A pool is no better:
//! threads that wait for a connection are in no queue, and each is blocked for up to the pool's `connection_timeout`.
//! Therefore:
//!
//! * each guarded section has a [`door`], which lets in as many requests as its pool has connections for, and tells the
//!   others at once that we are busy, before they take a thread;
//! * the ticket pool has as many connections as may hold tickets, and some for waiters: these are in the queue in the
//!   database, first come, first served, with all other machines;
//! * the wait is bounded, to less than the timeout of a client or proxy: a wait that nobody waits for any more goes on;
//! * `connection_timeout` is a second instead of 30, which is what a request waits when the database is gone;
//! * each worker has as many threads as both pools have connections, and so one for everybody who has been let in.
//!
//! # Settings
//!
//! `DATABASE_URL`, and those of [`config`], all from the environment. Under load, in a release build:
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
