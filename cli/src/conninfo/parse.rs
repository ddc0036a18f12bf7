//! Parses connection strings as libpq does, but refuses those that look like a mistake.

use super::{ADDRESS, Conninfo, DATABASE, Syntax};
use crate::secret::{decode, is_encoded};

const SYNTAX: &str = "it is neither a URL that begins with postgres://, mysql:// or sqlite://, nor a list of keyword='value' pairs";
const BLANK: &str = "it contains a blank";
const ENCODING: &str = "a % is not followed by two hexadecimal digits other than 00";
const PARAMETERS: &str = "the part after the ? is not a list of keyword=value pairs";

pub(super) fn parse(text: &str) -> Result<Conninfo, &'static str> {
    let text = text.trim_matches(is_blank);
    for scheme in ["postgres://", "postgresql://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return parse_url(scheme, rest);
        }
    }
    let pairs = parse_pairs(text).ok_or(SYNTAX)?;
    // At the end of an unquoted value, a backslash has no effect, but it would escape an appended parameter.
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    let text = &text[..text.len() - backslashes % 2];
    Ok(Conninfo {
        syntax: Syntax::Pairs,
        text: text.to_owned(),
        parameters: String::new(),
        pairs,
    })
}

/// Parses a URL without its scheme.
fn parse_url(scheme: &str, rest: &str) -> Result<Conninfo, &'static str> {
    if rest.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err(BLANK);
    }
    if !is_encoded(rest) {
        return Err(ENCODING);
    }
    let mut pairs = Vec::new();
    let mut add = |keyword: &str, value: &str| {
        if !value.is_empty() {
            pairs.push((decode(keyword), decode(value)));
        }
    };
    // The login ends with the first @, if that comes before the first /.
    let at = rest
        .find(['@', '/'])
        .filter(|at| rest[*at..].starts_with('@'));
    let (login, place) = rest.split_at(at.map_or(0, |at| at + 1));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    add("user", user.trim_end_matches('@'));
    add("password", password.trim_end_matches('@'));

    let (place, parameters) = place.split_once('?').unwrap_or((place, ""));
    let (addresses, database) = place.split_once('/').unwrap_or((place, ""));
    let (hosts, ports) = parse_addresses(addresses).ok_or(ADDRESS)?;
    add("host", &hosts);
    add("port", &ports);
    if database.contains('@') {
        return Err(DATABASE);
    }
    add("dbname", database);

    let parameters: Vec<&str> = parameters
        .split('&')
        .filter(|pair| !pair.is_empty())
        .collect();
    for parameter in &parameters {
        let (keyword, value) = parameter.split_once('=').ok_or(PARAMETERS)?;
        if !is_keyword(&decode(keyword)) || value.contains('=') {
            return Err(PARAMETERS);
        }
        add(keyword, value);
    }
    Ok(Conninfo {
        syntax: Syntax::Url,
        text: format!("{scheme}{login}{place}"),
        parameters: parameters.join("&"),
        pairs,
    })
}

/// Parses HOST:PORT,HOST:PORT. Returns `None` unless these are valid hosts and ports.
fn parse_addresses(addresses: &str) -> Option<(String, String)> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for address in addresses.split(',') {
        let (host, port) = match address.strip_prefix('[') {
            // An IPv6 address.
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                if host.is_empty() || !(port.is_empty() || port.starts_with(':')) {
                    return None;
                }
                (host, port.strip_prefix(':').unwrap_or_default())
            }
            None => address.split_once(':').unwrap_or((address, "")),
        };
        hosts.push(host);
        ports.push(port);
    }
    let join = |parts: Vec<&str>| {
        let is_empty = parts.iter().all(|part| part.is_empty());
        if is_empty {
            String::new()
        } else {
            parts.join(",")
        }
    };
    Some((join(hosts), join(ports)))
}

/// Returns whether libpq treats this as a blank.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t'..='\r')
}

fn is_keyword(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|letter| letter.is_ascii_lowercase() || letter == b'_')
}

/// Returns `None` for text that libpq would refuse.
fn parse_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let (keyword, after) = rest.split_once('=')?;
        let keyword = keyword.trim_end_matches(is_blank);
        if !is_keyword(keyword) {
            return None;
        }
        let (value, after) = parse_value(after.trim_start_matches(is_blank))?;
        pairs.push((keyword.to_owned(), value));
        rest = after.trim_start_matches(is_blank);
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// Returns the value at the beginning of this text, and the rest.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let (is_quoted, text) = match text.strip_prefix('\'') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Some((value, &text[at + 1..])),
            letter if is_blank(letter) && !is_quoted => return Some((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    (!is_quoted).then_some((value, ""))
}
