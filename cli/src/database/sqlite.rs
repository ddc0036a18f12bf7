//! A database of SQLite.

use super::{CONNECT_SECONDS, Connection};
use crate::{
    fault::Fault,
    secret::{decode, is_encoded},
};
use diesel::{
    Connection as _, ConnectionError, ConnectionResult, SqliteConnection,
    connection::SimpleConnection,
};
use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) struct Place {
    path: PathBuf,
    /// For Diesel.
    text: String,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let Some(rest) = text.strip_prefix("sqlite://") else {
            return Ok(Self {
                path: text.into(),
                text: text.to_owned(),
            });
        };
        let invalid = |cause| {
            Err(Fault::new(format_args!(
                "the database URL is not valid: {cause}; write sqlite://PATH, with other characters than letters, digits \
                 and -._~/ percent-encoded (% as %25)"
            )))
        };
        if !is_encoded(rest) {
            return invalid("a % is not followed by two hexadecimal digits other than 00");
        }
        // SQLite itself reads the parameters.
        let path = decode(rest.split(['?', '#']).next().unwrap_or_default());
        if path.is_empty() {
            return invalid("the path is missing");
        }
        Ok(Self {
            path: path.into(),
            text: text.to_owned(),
        })
    }

    /// Why the file can't be opened, which SQLite does not tell.
    fn cause(&self) -> Option<String> {
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let missing = folder.filter(|folder| !folder.exists());
        if let Some(folder) = missing {
            return Some(format!("there is no folder {}", folder.display()));
        }
        let opened = OpenOptions::new().read(true).append(true).open(&self.path);
        let error = opened.err().filter(|_| self.path.exists())?;
        Some(error.to_string())
    }
}

impl super::Place for Place {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn limit(&self) -> Option<Duration> {
        Some(Duration::from_secs(CONNECT_SECONDS.into()))
    }

    fn establish(&self, create: bool) -> ConnectionResult<Connection> {
        // Otherwise SQLite creates it, also after a typing error.
        if !create && !self.path.exists() {
            return Err(ConnectionError::BadConnection(format!(
                "there is no file {}",
                self.path.display()
            )));
        }
        let mut conn = SqliteConnection::establish(&self.text).map_err(|error| {
            ConnectionError::BadConnection(format!(
                "{} can't be opened: {}",
                self.path.display(),
                self.cause().unwrap_or_else(|| error.to_string())
            ))
        })?;
        // Opening reads nothing. Later errors don't name the file.
        match conn.batch_execute("PRAGMA schema_version") {
            Err(error) if error.to_string().contains("not a database") => {
                Err(ConnectionError::BadConnection(format!(
                    "{} is not a database of SQLite",
                    self.path.display()
                )))
            }
            _ => Ok(Box::new(conn)),
        }
    }

    fn unknown_columns(&self) -> &'static [&'static str] {
        &["ROLE", "APPLICATION", "CLIENT"]
    }

    fn redact(&self, message: &str) -> String {
        message.to_owned()
    }

    fn advice(&self) -> &'static str {
        "check --database-url or DATABASE_URL; `dbsemaphore migrate` creates the file in a folder that exists and that you can write to"
    }
}
