//! Connection strings, in libpq's two syntaxes: postgres:// URLs, and `keyword=value` pairs.
//!
//! libpq quotes what it can't read, and a password may be in there: where it isn't percent-encoded, or the @ after it is
//! missing. So libpq gets only what this module reads as libpq does, and where nothing looks like a part of a password.

mod keywords;
mod parse;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{ffi::OsString, iter};

const ADDRESS: &str = "HOST or PORT is invalid, unless the @ after the password is missing, or a character of it not encoded";
const DATABASE: &str = "DATABASE is invalid, unless a character of the password is not encoded";

/// What stands for hidden words.
const HIDDEN: &str = "***";

pub(crate) struct Conninfo {
    syntax: Syntax,
    /// What libpq may get, without what may be around it, such as the newline at the end of a file.
    text: String,
    /// Of a URL, what follows its ?.
    parameters: String,
    /// As libpq reads them. Of those with the same keyword, the last one counts.
    pairs: Vec<(String, String)>,
}

enum Syntax {
    Url,
    Pairs,
}

impl Conninfo {
    /// An error says what is wrong, and quotes nothing.
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

    /// The value of a keyword.
    pub(crate) fn get(&self, keyword: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter().rev();
        let (_, value) = pairs.find(|(name, _)| name == keyword)?;
        Some(value)
    }

    /// How many hosts libpq tries in turn.
    pub(crate) fn hosts(&self) -> u32 {
        let count = |keyword| {
            self.get(keyword)
                .map_or(1, |hosts| hosts.split(',').count())
        };
        let hosts = count("host").max(count("hostaddr"));
        u32::try_from(hosts).unwrap_or(u32::MAX)
    }

    /// The text for libpq, with these parameters in place of those with the same keywords.
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

    /// What libpq says about it, without passwords, and without words that may be parts of one.
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

/// No name or address of a host has a @, but that of an abstract socket begins with one.
fn is_host(host: &str) -> bool {
    !host.contains("://") && !host.chars().skip(1).any(|letter| letter == '@')
}

/// Replaces a word, wherever it isn't a part of a longer one.
fn hide(text: &str, word: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        let is_part =
            before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        shown += before;
        shown += if is_part { word } else { HIDDEN };
        rest = after;
    }
    shown + rest
}

/// Hides those of these words that may be connection strings, in a text that quotes words.
pub(crate) fn redact_words(mut text: String, words: impl Iterator<Item = OsString>) -> String {
    for word in words {
        let word = word.to_string_lossy();
        if word.contains("://") || word.contains("password") {
            text = text.replace(&*word, HIDDEN);
        }
    }
    text
}
