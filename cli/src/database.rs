//! The way to the database. Nobody but this module has its URL, whose password must not be printed.

use crate::fault::Fault;
use diesel::{Connection, PgConnection};
use std::process;

#[derive(Clone)]
pub(crate) struct Database {
    url: String,
}

impl Database {
    pub(crate) fn new(url: Option<String>) -> Result<Self, Fault> {
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            return Err(Fault::new(
                "which database? Set DATABASE_URL, or give --database-url, to postgres://USER@HOST/DATABASE",
            ));
        };
        let Some((_, rest)) = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "postgres" | "postgresql"))
        else {
            return Err(Fault::new(
                "the database's URL has to begin with postgres:// or postgresql://",
            ));
        };
        let password = password(rest);
        if password.contains(['@', '/', '?', '#', ' '])
            || !is_encoded(password)
            || !is_encoded(query(rest))
        {
            return Err(Fault::new(
                "the database's URL can't be read: in the password, other characters than letters, digits and -._~ have \
                 to be percent-encoded, @ as %40 for instance",
            ));
        }
        Ok(Self { url })
    }

    pub(crate) fn connect(&self) -> Result<PgConnection, Fault> {
        let sign = if self.url.contains('?') { '&' } else { '?' };
        let application = application().replace('[', "%5B").replace(']', "%5D");
        // Of a parameter that comes twice, the last one counts.
        let url = format!("{}{sign}application_name={application}", self.url);
        Ok(PgConnection::establish(&url)?)
    }
}

/// What this process is called in the database: with its process id, so that it can be found, here and there.
pub(crate) fn application() -> String {
    format!("dbsemaphore[{}]", process::id())
}

/// What may be the password, as much as may be: libpq quotes what it can't read in its messages, so it only gets
/// what it can.
fn password(rest: &str) -> &str {
    let authority = rest.rsplit_once('@').map_or("", |(before, _)| before);
    authority
        .split_once(':')
        .map_or("", |(_, password)| password)
}

/// There may be one in the parameters, too.
fn query(rest: &str) -> &str {
    rest.split_once('?').map_or("", |(_, query)| query)
}

/// Whether each % has its two digits.
fn is_encoded(text: &str) -> bool {
    let has_digits = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit);
        digits.count() >= 2
    };
    text.split('%').skip(1).all(has_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(url: &str) -> bool {
        Database::new(Some(url.to_owned())).is_ok()
    }

    #[test]
    fn a_password_that_libpq_would_quote_is_refused_here() {
        for url in [
            "postgres://ada:p@ss@host/x",
            "postgres://ada:p/ss@host/x",
            "postgres://ada:pa%ss@host/x",
            "postgres://ada:pass%@host/x",
            "postgres://host/x?password=pa%ss",
        ] {
            assert!(!is_accepted(url), "{url}");
        }
        for url in [
            "postgres://ada:p%40ss@host/x",
            "postgres://ada@host/x",
            "postgresql://host:5432,other:5433/x",
            "postgres:///x?host=/run/postgresql&user=ada",
        ] {
            assert!(is_accepted(url), "{url}");
        }
    }
}
