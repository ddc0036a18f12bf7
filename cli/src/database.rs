//! Connects to the database. Only this module has its URL, whose password must not be printed.

use crate::{conninfo::Conninfo, fault::Fault};
use diesel::{Connection, ConnectionError, PgConnection, connection::CacheSize};
use std::{
    env, process,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// The default of `connect_timeout`: how long a host has for a connection, in seconds.
const CONNECT_SECONDS: u32 = 10;

#[derive(Clone)]
pub(crate) struct Database {
    conninfo: Arc<Conninfo>,
    /// The connection string for libpq.
    text: Arc<str>,
    limit: Option<Duration>,
}

impl Database {
    pub(crate) fn new(url: Option<String>) -> Result<Self, Fault> {
        let url = url.unwrap_or_default();
        if url.trim().is_empty() {
            return Err(Fault::new(
                "no database URL: set DATABASE_URL, or give --database-url, to postgres://USER@HOST/DATABASE",
            ));
        }
        let conninfo = Conninfo::parse(&url).map_err(|cause| {
            Fault::new(format_args!(
                "the database URL is not valid: {cause}; write postgres://USER:PASSWORD@HOST/DATABASE, with other \
                 characters in USER and PASSWORD than letters, digits and -._~ percent-encoded (@ as %40)"
            ))
        })?;
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
            text: conninfo.with(&parameters).into(),
            conninfo: Arc::new(conninfo),
            limit,
        })
    }

    /// How long connecting may take. `None` for no limit.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Connects within the limit, by the clock of this process. The limit of libpq does not include all steps.
    pub(crate) fn connect(&self) -> Result<PgConnection, Fault> {
        let connected = match self.limit {
            None => establish(&self.text),
            Some(limit) => {
                let (connected, connection) = mpsc::channel();
                let text = Arc::clone(&self.text);
                thread::Builder::new()
                    .name("connecting".to_owned())
                    // A connection after the limit is closed at once.
                    .spawn(move || drop(connected.send(establish(&text))))
                    .map_err(Fault::thread)?;
                connection.recv_timeout(limit).map_err(|_| {
                    Fault::new(format_args!(
                        "no connection to the database within {}: check that the server answers, or set connect_timeout \
                         in the database's URL",
                        humantime::format_duration(limit)
                    ))
                })?
            }
        };
        connected.map_err(|error| {
            let cause = self.conninfo.redact(&error.to_string());
            Fault::new(format_args!(
                "no connection to the database: {cause} (check --database-url or DATABASE_URL, and that the server is \
                 running)"
            ))
        })
    }
}

fn establish(text: &str) -> Result<PgConnection, ConnectionError> {
    let mut conn = PgConnection::establish(text)?;
    // Behind a pooler, each transaction may get another session, with other prepared statements.
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    Ok(conn)
}

/// The `application_name` of this process. It contains the process id, so that people can find the process.
fn application() -> String {
    format!("dbsemaphore[{}]", process::id())
}
