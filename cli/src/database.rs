//! Connects to the database. Only this module has its URL, whose password must not be printed.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::fault::Fault;
use diesel::ConnectionResult;
use diesel_dbsemaphore::TicketConnection;
#[cfg(feature = "serve")]
use std::process::Command;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// The default of `connect_timeout`: how long a host has for a connection, in seconds.
const CONNECT_SECONDS: u32 = 10;

/// A connection to a database of any backend.
pub(crate) type Connection = Box<dyn TicketConnection + Send>;

#[derive(Clone)]
pub(crate) struct Database {
    place: Arc<dyn Place>,
    #[cfg(feature = "serve")]
    url: Arc<str>,
    attempt: Arc<Mutex<Option<Attempt>>>,
}

/// An attempt to connect, in a thread of its own. If it has no answer within the limit, the next call waits for that answer: a
/// server that is silent has one connection, however often this program tries.
type Attempt = mpsc::Receiver<ConnectionResult<Connection>>;

/// A database, by a URL that is valid for its backend.
trait Place: Send + Sync {
    /// See [`Database::name`].
    #[cfg_attr(
        not(feature = "serve"),
        expect(dead_code, reason = "the page shows it")
    )]
    fn name(&self) -> String;

    /// How long connecting may take. `None` for no limit.
    fn limit(&self) -> Option<Duration>;

    /// Connects. Creates a missing database only if `create`, and only if it is a file.
    fn establish(&self, create: bool) -> ConnectionResult<Connection>;

    /// Returns the message of an error without passwords.
    fn redact(&self, message: &str) -> String;

    /// The columns of holders and waiters that this backend does not know.
    fn unknown_columns(&self) -> &'static [&'static str] {
        &[]
    }

    /// What to check if there is no connection.
    fn advice(&self) -> &'static str {
        "check --database-url or DATABASE_URL, and that the server is running"
    }
}

impl Database {
    pub(crate) fn new(url: Option<String>) -> Result<Self, Fault> {
        let url = url.unwrap_or_default();
        let url = url.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        if url.is_empty() {
            return Err(Fault::new(
                "no database URL: set DATABASE_URL, or give --database-url, to postgres://USER@HOST/DATABASE, \
                 mysql://USER@HOST/DATABASE or sqlite://PATH",
            ));
        }
        let place: Arc<dyn Place> = match Backend::of(url) {
            #[cfg(feature = "postgres")]
            Some(Backend::Postgres) => Arc::new(postgres::Place::parse(url)?),
            #[cfg(feature = "mysql")]
            Some(Backend::Mysql) => Arc::new(mysql::Place::parse(url)?),
            #[cfg(feature = "sqlite")]
            Some(Backend::Sqlite) => Arc::new(sqlite::Place::parse(url)?),
            #[allow(unreachable_patterns)]
            Some(backend) => return Err(backend.missing()),
            None => {
                return Err(Fault::new(
                    "the database URL is not valid: it is neither a URL that begins with postgres://, mysql:// or \
                     sqlite://, nor a list of keyword='value' pairs, nor the path of a file; if the path contains @, : \
                     or =, write sqlite://PATH",
                ));
            }
        };
        Ok(Self {
            place,
            #[cfg(feature = "serve")]
            url: url.into(),
            attempt: Arc::default(),
        })
    }

    /// This program, for this database.
    #[cfg(feature = "serve")]
    pub(crate) fn tool(&self) -> Result<Command, Fault> {
        // Also after an upgrade of its file.
        #[cfg(target_os = "linux")]
        let mut tool = Command::new("/proc/self/exe");
        #[cfg(not(target_os = "linux"))]
        let mut tool = Command::new(std::env::current_exe()?);
        tool.env("DATABASE_URL", &*self.url);
        Ok(tool)
    }

    /// What people may see of it: host and database, or the file. No user and no password.
    #[cfg(feature = "serve")]
    pub(crate) fn name(&self) -> String {
        self.place.name()
    }

    /// The columns of holders and waiters that this backend does not know.
    pub(crate) fn unknown_columns(&self) -> &'static [&'static str] {
        self.place.unknown_columns()
    }

    /// How long connecting may take. `None` for no limit.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.place.limit()
    }

    /// Connects within the limit, by the clock of this process. The limit of a client library does not include all steps.
    pub(crate) fn connect(&self) -> Result<Connection, Fault> {
        self.establish(false)
    }

    /// The same. Creates the file of a database of SQLite if it is missing.
    pub(crate) fn connect_or_create(&self) -> Result<Connection, Fault> {
        self.establish(true)
    }

    fn establish(&self, create: bool) -> Result<Connection, Fault> {
        let connected = match self.limit() {
            None => self.place.establish(create),
            Some(limit) => self.establish_within(limit, create)?,
        };
        connected.map_err(|error| {
            Fault::new(format_args!(
                "no connection to the database: {} ({})",
                self.place.redact(&error.to_string()).trim_end(),
                self.place.advice()
            ))
        })
    }

    fn establish_within(
        &self,
        limit: Duration,
        create: bool,
    ) -> Result<ConnectionResult<Connection>, Fault> {
        let mut outstanding = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = match outstanding.take() {
            Some(attempt) => attempt,
            None => self.begin(create)?,
        };
        attempt.recv_timeout(limit).map_err(|error| {
            if error == RecvTimeoutError::Timeout {
                *outstanding = Some(attempt);
            }
            Fault::new(format_args!(
                "no connection to the database within {}: check that the server answers, or set connect_timeout in the \
                 database's URL",
                humantime::format_duration(limit)
            ))
        })
    }

    fn begin(&self, create: bool) -> Result<Attempt, Fault> {
        let (connected, attempt) = mpsc::channel();
        let place = Arc::clone(&self.place);
        thread::Builder::new()
            .name("connecting".to_owned())
            .spawn(move || drop(connected.send(place.establish(create))))
            .map_err(Fault::thread)?;
        Ok(attempt)
    }
}

/// The backends of which a URL can be.
#[derive(Clone, Copy)]
enum Backend {
    Postgres,
    Mysql,
    Sqlite,
}

impl Backend {
    /// `None` if the text is of no backend.
    fn of(url: &str) -> Option<Self> {
        let begins = |schemes: &[&str]| schemes.iter().any(|scheme| url.starts_with(scheme));
        if begins(&["postgres://", "postgresql://"]) {
            Some(Self::Postgres)
        } else if begins(&["mysql://", "mariadb://"]) {
            Some(Self::Mysql)
        } else if begins(&["sqlite://"]) || !url.contains(['@', ':', '=']) {
            Some(Self::Sqlite)
        } else {
            // A list of pairs.
            url.contains('=').then_some(Self::Postgres)
        }
    }

    /// That this program knows the backend, but can't use it.
    fn missing(self) -> Fault {
        let (name, feature) = match self {
            Self::Postgres => ("PostgreSQL", "postgres"),
            Self::Mysql => ("MySQL or MariaDB", "mysql"),
            Self::Sqlite => ("SQLite", "sqlite"),
        };
        Fault::new(format_args!(
            "the database URL is one of {name}, without which this program was compiled: install it with `cargo install \
             dbsemaphore --features {feature}`"
        ))
    }
}

/// The error of a URL that is not valid. `cause` quotes nothing.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn invalid(cause: &str, scheme: &str) -> Fault {
    Fault::new(format_args!(
        "the database URL is not valid: {cause}; write {scheme}://USER:PASSWORD@HOST/DATABASE, with other characters in \
         USER and PASSWORD than letters, digits and -._~ percent-encoded (@ as %40)"
    ))
}
