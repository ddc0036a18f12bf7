//! Connection strings of PostgreSQL, in libpq's two syntaxes: postgres:// URLs, and `keyword=value` pairs.
//!
//! libpq quotes text that it can't parse, which may contain a password that is not percent-encoded, or after which the
//! @ is missing. So libpq gets only a connection string that this module parses as libpq does, and in which no other
//! part looks like a part of a password.

mod keywords;
mod parse;

use crate::secret::hide;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::iter;

const ADDRESS: &str = "HOST or PORT is invalid, or the @ after the password is missing, or a character of the password is not encoded";
const DATABASE: &str = "DATABASE is invalid, or a character of the password is not encoded";

pub(crate) struct Conninfo {
    syntax: Syntax,
    /// The text for libpq, without surrounding blanks such as the newline at the end of a file.
    text: String,
    /// The part of a URL after its ?.
    parameters: String,
    /// The parameters as libpq parses them. If a keyword occurs twice, the last value counts.
    pairs: Vec<(String, String)>,
}

enum Syntax {
    Url,
    Pairs,
}

impl Conninfo {
    /// The error says what is wrong, and quotes nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let conninfo = parse::parse(text)?;
        for (keyword, value) in &conninfo.pairs {
            match keyword.as_str() {
                "port" if !value.split(',').all(is_port) => return Err(ADDRESS),
                "host" | "hostaddr" if !value.split(',').all(is_host) => return Err(ADDRESS),
                "dbname" if value.contains("://") => return Err(DATABASE),
                _ => {}
            }
        }
        Ok(conninfo)
    }

    /// Returns the value of a keyword.
    pub(crate) fn get(&self, keyword: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter().rev();
        let (_, value) = pairs.find(|(name, _)| name == keyword)?;
        Some(value)
    }

    /// Returns how many hosts libpq tries in turn.
    pub(crate) fn hosts(&self) -> u32 {
        let count = |keyword| {
            self.get(keyword)
                .map_or(1, |hosts| hosts.split(',').count())
        };
        let hosts = count("host").max(count("hostaddr"));
        u32::try_from(hosts).unwrap_or(u32::MAX)
    }

    /// Returns hosts, ports and database.
    pub(crate) fn place(&self) -> String {
        let host = self.get("host").or_else(|| self.get("hostaddr"));
        let mut place = host
            .or_else(|| self.get("service"))
            .unwrap_or_default()
            .to_owned();
        if let Some(port) = self.get("port") {
            place += &format!(":{port}");
        }
        if let Some(database) = self.get("dbname") {
            place += &format!("/{database}");
        }
        if place.is_empty() {
            place += "PostgreSQL";
        }
        place
    }

    /// Returns the text for libpq, with these parameters instead of those with the same keywords.
    pub(crate) fn with(&self, parameters: &[(&str, String)]) -> String {
        match self.syntax {
            Syntax::Url => {
                let given = [self.parameters.clone()];
                let added = parameters.iter().map(|(keyword, value)| {
                    format!("{keyword}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
                });
                let all = given
                    .into_iter()
                    .filter(|given| !given.is_empty())
                    .chain(added);
                format!("{}?{}", self.text, all.collect::<Vec<_>>().join("&"))
            }
            Syntax::Pairs => {
                let added = parameters.iter().map(|(keyword, value)| {
                    let value = value.replace('\\', r"\\").replace('\'', r"\'");
                    format!(" {keyword}='{value}'")
                });
                iter::once(self.text.clone()).chain(added).collect()
            }
        }
    }

    /// Returns libpq's message about this connection string, without passwords, and without words that may be parts of
    /// one.
    pub(crate) fn redact(&self, message: &str) -> String {
        let mut text = message.to_owned();
        for (keyword, value) in &self.pairs {
            let is_known = keywords::KNOWN.contains(&keyword.as_str());
            if !is_known {
                text = hide(&text, keyword);
            }
            if !is_known || keywords::SECRET.contains(&keyword.as_str()) {
                text = hide(&text, value);
                text = hide(
                    &text,
                    &utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
                );
            }
        }
        text
    }
}

fn is_port(port: &str) -> bool {
    port.is_empty() || port.parse().is_ok_and(|port: u16| port > 0)
}

/// The name or address of a host contains no @, except that an abstract socket begins with one.
fn is_host(host: &str) -> bool {
    !host.contains("://") && !host.chars().skip(1).any(|letter| letter == '@')
}
