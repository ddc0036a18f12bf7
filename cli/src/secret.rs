//! Passwords, which no message may contain, and their encoding in URLs.

use percent_encoding::percent_decode_str;
use std::ffi::OsString;

/// Replaces hidden words.
const HIDDEN: &str = "***";

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns whether each % is followed by two digits, and none encodes NUL, which ends strings.
pub(crate) fn is_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    })
}

/// Replaces a word, except as a part of a longer one.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn hide(text: &str, word: &str) -> String {
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

/// Hides words that may be connection strings, in a text that quotes words.
pub(crate) fn redact_words(mut text: String, words: impl Iterator<Item = OsString>) -> String {
    for word in words {
        let word = word.to_string_lossy();
        if word.contains("://") || word.contains("password") {
            text = text.replace(&*word, HIDDEN);
        }
    }
    text
}
