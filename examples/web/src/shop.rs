use crate::{
    Fallible, carrier::Carrier, config::Config, door::Door, pools::Pools, visitors::Visitors,
};
use diesel_dbsemaphore::{self as sem, Request};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::time::Duration;

/// The names of the semaphores.
pub(crate) const CARRIER: &str = "carrier";
pub(crate) const REPORTS: &str = "reports";
const MIGRATIONS: &str = "migrations";

/// What all requests share.
pub(crate) struct Shop {
    pub(crate) config: Config,
    pub(crate) pools: Pools,
    pub(crate) carrier: Carrier,
    pub(crate) carrier_door: Door,
    pub(crate) report_door: Door,
    pub(crate) report_visitors: Visitors,
    /// All requests, whatever they want.
    pub(crate) visitors: Visitors,
}

impl Shop {
    pub(crate) fn new(config: Config, pools: Pools) -> Self {
        Self {
            carrier: Carrier::new(config.carrier_time),
            carrier_door: Door::new(config.ticket_connections),
            // The other half is for the status page, and for keeping quotes.
            report_door: Door::new(config.work_connections / 2),
            report_visitors: Visitors::default(),
            visitors: Visitors::default(),
            config,
            pools,
        }
    }
}

/// What has to be in the database. Each process does it when it starts, however many start at once.
pub(crate) fn prepare(pools: &Pools, config: &Config) -> Fallible<()> {
    let mut conn = pools.work.get()?;
    sem::run_migrations(&mut conn)?;
    sem::ensure(&mut conn, CARRIER, config.carrier_tickets)?;
    sem::ensure(&mut conn, REPORTS, config.report_tickets)?;
    sem::ensure(&mut conn, MIGRATIONS, 1)?;
    // Diesel's own migrations fail where two processes run them at once. A semaphore of size 1 prevents that.
    let request = Request::new(MIGRATIONS)
        .wait(Duration::from_secs(60))
        .label("start-up");
    sem::with_ticket(&pools.tickets, request, |_ticket| {
        const OURS: EmbeddedMigrations = embed_migrations!();
        conn.run_pending_migrations(OURS).map(|_| ())
    })
}
