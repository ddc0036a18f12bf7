use crate::{Backend, server::Server};
use std::{fs, time::Duration};

/// The value that this share of them don't exceed; sorts them.
pub fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// Time that the session whose process has this id has spent on a processor so far, to the nanosecond. On Linux only.
pub fn session_cpu_time(pid: u32) -> Duration {
    let statistics = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    let on_processor = statistics.split_whitespace().next();
    let nanoseconds = on_processor.and_then(|time| time.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a time"))
}

impl<B: Backend> Server<B> {
    /// User and system time of the server so far: of its first process, and of the sessions that are there now. On Linux only.
    pub fn cpu_time(&self) -> Duration {
        let server = self.pid().to_string();
        let ticks: u64 = fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .filter_map(|stat| {
                let process = stat.split_whitespace().next()?;
                let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
                let (parent, user, system) = (fields.get(1)?, fields.get(11)?, fields.get(12)?);
                [process, parent]
                    .contains(&server.as_str())
                    .then_some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
            })
            .sum();
        // Linux counts in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }
}
