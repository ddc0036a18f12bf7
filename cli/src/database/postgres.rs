//! A database of PostgreSQL.

use super::{CONNECT_SECONDS, Connection, invalid};
use crate::{conninfo::Conninfo, fault::Fault};
use diesel::{Connection as _, ConnectionResult, PgConnection, connection::CacheSize};
use std::{env, process, time::Duration};

pub(super) struct Place {
    conninfo: Conninfo,
    /// The connection string for libpq.
    text: String,
    limit: Option<Duration>,
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, Fault> {
        let conninfo = Conninfo::parse(url).map_err(|cause| invalid(cause, "postgres"))?;
        let given = conninfo.get("connect_timeout").map(str::to_owned);
        let given = given.or_else(|| env::var("PGCONNECT_TIMEOUT").ok());
        let given = given.filter(|seconds| !seconds.is_empty());
        let mut parameters = vec![("application_name", application())];
        if given.is_none() {
            parameters.push(("connect_timeout", CONNECT_SECONDS.to_string()));
        }
        let seconds = match given {
            // libpq treats 1 as 2, and less as no limit. It refuses other values than numbers.
            Some(seconds) => seconds.trim().parse().ok().filter(|seconds| *seconds > 0),
            None => Some(CONNECT_SECONDS),
        };
        let limit = seconds.map(|seconds: u32| {
            let host = Duration::from_secs(seconds.max(2).into());
            host.saturating_mul(conninfo.hosts())
        });
        Ok(Self {
            text: conninfo.with(&parameters),
            conninfo,
            limit,
        })
    }
}

impl super::Place for Place {
    fn name(&self) -> String {
        self.conninfo.place()
    }

    fn limit(&self) -> Option<Duration> {
        self.limit
    }

    fn establish(&self, _create: bool) -> ConnectionResult<Connection> {
        let mut conn = PgConnection::establish(&self.text)?;
        // Behind a pooler, each transaction may get another session, with other prepared statements.
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        Ok(Box::new(conn))
    }

    fn redact(&self, message: &str) -> String {
        self.conninfo.redact(message)
    }
}

/// The `application_name` of this process. It contains the process id, so that people can find the process.
fn application() -> String {
    format!("dbsemaphore[{}]", process::id())
}
