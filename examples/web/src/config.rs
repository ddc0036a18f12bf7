use crate::Fallible;
use std::{env, error::Error, fmt::Display, str::FromStr, time::Duration};

/// What the environment says.
pub(crate) struct Config {
    /// `DATABASE_URL`, without which nothing works.
    pub(crate) database_url: String,
    /// `LISTEN`: the address and port to listen on. With port 0, a free one.
    pub(crate) listen: String,
    /// `CARRIER_TICKETS`, `REPORT_TICKETS`: how many may be inside, where no semaphore says otherwise yet.
    pub(crate) carrier_tickets: u32,
    pub(crate) report_tickets: u32,
    /// `TICKET_CONNECTIONS`: how many requests to the carrier may be here at once, those that wait included.
    pub(crate) ticket_connections: u32,
    /// `WORK_CONNECTIONS`: for everything else. Half of them may write reports.
    pub(crate) work_connections: u32,
    /// `WAIT_LIMIT_MS`: how long a request waits for its turn with the carrier.
    pub(crate) wait_limit: Duration,
    /// `CARRIER_MS`, `REPORT_MS`: how long the simulated work takes, on the average.
    pub(crate) carrier_time: Duration,
    pub(crate) report_time: Duration,
}

impl Config {
    pub(crate) fn from_environment() -> Fallible<Self> {
        let milliseconds = |name, otherwise| setting(name, otherwise).map(Duration::from_millis);
        let config = Self {
            database_url: env::var("DATABASE_URL").map_err(
                |_| "DATABASE_URL is missing: set it, as in DATABASE_URL=postgres://localhost/shop",
            )?,
            listen: setting("LISTEN", "127.0.0.1:8080".to_owned())?,
            carrier_tickets: setting("CARRIER_TICKETS", 3)?,
            report_tickets: setting("REPORT_TICKETS", 2)?,
            ticket_connections: setting("TICKET_CONNECTIONS", 8)?,
            work_connections: setting("WORK_CONNECTIONS", 10)?,
            wait_limit: milliseconds("WAIT_LIMIT_MS", 1000)?,
            carrier_time: milliseconds("CARRIER_MS", 35)?,
            report_time: milliseconds("REPORT_MS", 20)?,
        };
        if config.ticket_connections == 0 || config.work_connections < 2 {
            return Err("TICKET_CONNECTIONS has to be at least 1, WORK_CONNECTIONS 2".into());
        }
        Ok(config)
    }
}

fn setting<T>(name: &str, otherwise: T) -> Fallible<T>
where
    T: FromStr,
    T::Err: Error + Display,
{
    match env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|error| format!("{name} can't be {text:?}: {error}").into()),
        Err(env::VarError::NotPresent) => Ok(otherwise),
        Err(error) => Err(format!("{name}: {error}").into()),
    }
}
