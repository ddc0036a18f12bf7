//! A database of MySQL or MariaDB.

use super::{CONNECT_SECONDS, Connection, invalid};
use crate::{
    fault::Fault,
    secret::{decode, hide, is_encoded},
};
use diesel::{
    Connection as _, ConnectionError, ConnectionResult, MysqlConnection,
    connection::SimpleConnection,
};
use std::{os::fd::RawFd, time::Duration};
use url::Url;

/// The parameters that Diesel knows, and that of this tool.
const PARAMETERS: [&str; 6] = [
    "connect_timeout",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_mode",
    "unix_socket",
];

const ADDRESS: &str = "HOST or PORT is invalid, or the @ after the password is missing, or a character of the password is not encoded";
const DATABASE: &str =
    "DATABASE is missing or invalid, or a character of the password is not encoded";
const ENCODING: &str =
    "it contains a blank, or a % is not followed by two hexadecimal digits other than 00";
const PARAMETER: &str = "the part after the ? is not a list of parameters, or one of them is unknown: they are connect_timeout, ssl_ca, ssl_cert, ssl_key, ssl_mode and unix_socket";
const TIMEOUT: &str = "connect_timeout is not a number of seconds";

pub(super) struct Place {
    /// For Diesel, without the database.
    server: Url,
    database: String,
    limit: Option<Duration>,
    /// The open files from before the first connection, which the command may expect to inherit.
    inherited: Vec<RawFd>,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_url(text).map_err(|cause| invalid(cause, "mysql"))
    }

    fn parse_url(text: &str) -> Result<Self, &'static str> {
        if text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
            || !is_encoded(text)
        {
            return Err(ENCODING);
        }
        let mut server = Url::parse(text).map_err(|_| ADDRESS)?;
        // More than one @, or none where the password contains the character that ends it.
        if text.matches('@').count() > 1 || server.fragment().is_some() {
            return Err(ADDRESS);
        }
        let database = server.path().trim_start_matches('/').to_owned();
        if database.is_empty() || database.contains(['/', '@']) {
            return Err(DATABASE);
        }
        if server.host_str().is_none_or(str::is_empty) {
            return Err(ADDRESS);
        }
        let mut limit = Some(Duration::from_secs(CONNECT_SECONDS.into()));
        let mut has_socket = false;
        for (name, value) in server.query_pairs() {
            if !PARAMETERS.contains(&&*name) {
                return Err(PARAMETER);
            }
            has_socket |= name == "unix_socket";
            if name == "connect_timeout" {
                let seconds: u32 = value.parse().map_err(|_| TIMEOUT)?;
                limit = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
            }
        }
        // The client library ignores the port of this name, and connects by a socket file.
        if server.host_str() == Some("localhost") && server.port().is_some() && !has_socket {
            server.set_host(Some("127.0.0.1")).map_err(|_| ADDRESS)?;
        }
        server.set_path("");
        // Diesel knows no other scheme.
        server.set_scheme("mysql").map_err(|()| ADDRESS)?;
        Ok(Self {
            server,
            database: decode(&database),
            limit,
            inherited: close_fds::iter_open_fds(0).collect(),
        })
    }
}

impl super::Place for Place {
    fn name(&self) -> String {
        let host = self.server.host_str().unwrap_or_default();
        match self.server.port() {
            Some(port) => format!("{host}:{port}/{}", self.database),
            None => format!("{host}/{}", self.database),
        }
    }

    fn limit(&self) -> Option<Duration> {
        self.limit
    }

    fn establish(&self, _create: bool) -> ConnectionResult<Connection> {
        let mut conn = MysqlConnection::establish(self.server.as_str())?;
        // The client library leaves its socket open for programs that this process starts. With it, they could use the
        // session, and the server would not notice the end of this process.
        close_fds::set_fds_cloexec(3, &self.inherited);
        // Diesel does not decode the name in a URL.
        let name = self.database.replace('`', "``");
        conn.batch_execute(&format!("USE `{name}`"))
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(Box::new(conn))
    }

    fn unknown_columns(&self) -> &'static [&'static str] {
        &["APPLICATION"]
    }

    fn redact(&self, message: &str) -> String {
        let Some(password) = self.server.password() else {
            return message.to_owned();
        };
        hide(&hide(message, password), &decode(password))
    }
}
