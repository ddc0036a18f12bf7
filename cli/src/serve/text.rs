//! Names and times, as the page shows them.

use std::time::Duration;

/// Shows characters that change the direction or the place of others.
pub(super) fn visible(text: &str) -> String {
    text.escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

/// Formats a time with the two largest units.
pub(super) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86400 => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        let times = [0, 59, 60, 3661, 90_000].map(|seconds| short(Duration::from_secs(seconds)));
        assert_eq!(times, ["0s", "59s", "1m 00s", "1h 01m", "1d 01h"]);
    }

    #[test]
    fn invisible_letters_are_shown() {
        assert_eq!(visible("a\"'\u{202e}b\n"), r#"a"'\u{202e}b\n"#);
    }
}
