//! What a lock file says of its holder or waiter. The lock is the truth, and the record is for `holders`, `waiters` and fencing
//! tokens.

use std::{
    fs::File,
    io,
    io::Write as _,
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// So that one write replaces all of an older record.
const LENGTH: usize = 128;

/// A line of five words: number, state, process, time in microseconds, label. Only the label can have blanks, also at its end. The
/// rest of the file is empty lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The fencing token of a holder, or how many tickets a waiter requests.
    pub(super) number: i64,
    /// Whether the holder has not released the ticket, as far as it could write this.
    pub(super) in_use: bool,
    pub(super) pid: u32,
    since_us: i64,
    pub(super) label: Option<String>,
}

impl Record {
    /// The record of this process, from now on.
    pub(super) fn new(number: i64, label: Option<&str>) -> Self {
        Self {
            number,
            in_use: true,
            pid: process::id(),
            since_us: now_us(),
            label: label.map(ToOwned::to_owned),
        }
    }

    /// By the system's clock. `None` if that was set back since.
    pub(super) fn age(&self) -> Option<Duration> {
        let age = now_us().checked_sub(self.since_us)?;
        Some(Duration::from_micros(u64::try_from(age).ok()?))
    }

    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        let state = if self.in_use { "held" } else { "released" };
        let label = self.label.as_deref().unwrap_or_default();
        let mut line = [b'\n'; LENGTH];
        let mut rest = &mut line[..];
        write!(
            rest,
            "{} {state} {} {} {label}",
            self.number, self.pid, self.since_us
        )?;
        write_at_start(file, &line)
    }

    /// `None` if the file has no record, or not one of this version.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut line = [0; LENGTH];
        let length = read_at_start(file, &mut line)?;
        Ok(Self::parse(&line[..length]))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
        let mut words = line.splitn(5, ' ');
        Some(Self {
            number: words.next()?.parse().ok()?,
            in_use: match words.next()? {
                "held" => true,
                "released" => false,
                _ => return None,
            },
            pid: words.next()?.parse().ok()?,
            since_us: words.next()?.parse().ok()?,
            label: words
                .next()
                .filter(|l| !l.is_empty())
                .map(ToOwned::to_owned),
        })
    }
}

// Records are shorter than what systems read and write at once.

#[cfg(unix)]
fn write_at_start(file: &File, line: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, line, 0)
}

#[cfg(unix)]
fn read_at_start(file: &File, line: &mut [u8]) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, line, 0)
}

#[cfg(not(unix))]
fn write_at_start(mut file: &File, line: &[u8]) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(0))?;
    file.write_all(line)
}

#[cfg(not(unix))]
fn read_at_start(mut file: &File, line: &mut [u8]) -> io::Result<usize> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(0))?;
    file.read(line)
}

/// The system's clock in microseconds.
pub(super) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::{LENGTH, Record};
    use std::fs::OpenOptions;

    #[test]
    fn records_replace_longer_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t0");
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .unwrap();
        assert_eq!(Record::read(&file).unwrap(), None);
        for label in [
            Some("monthly, for Ada, and all others of them"),
            Some("x"),
            Some(" x  "),
            Some("  "),
            None,
        ] {
            let record = Record::new(i64::MAX, label);
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file).unwrap(), Some(record));
            assert_eq!(file.metadata().unwrap().len(), LENGTH as u64);
        }
    }

    #[test]
    fn records_are_parsed_strictly() {
        assert!(Record::parse(b"7 held 12 34").is_some());
        for wrong in [
            "",
            "7",
            "7 held 12",
            "x held 12 34",
            "7 gripped 12 34",
            "7 held -1 34",
        ] {
            assert_eq!(Record::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
