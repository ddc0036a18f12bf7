//! Signals, as messages.

use signal_hook::{
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};
use std::{fs, io, thread};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) number: i32,
    /// A key on the terminal, and not another process, has sent it: to all that run in its foreground.
    pub(crate) from_terminal: bool,
}

/// Tells of these signals from now on, in a thread of its own, instead of ending the process.
pub(crate) fn listen(
    numbers: impl IntoIterator<Item = i32>,
    tell: impl Fn(Received) + Send + 'static,
) -> io::Result<()> {
    let mut signals = SignalsInfo::<WithOrigin>::new(numbers)?;
    thread::Builder::new().spawn(move || {
        for origin in &mut signals {
            tell(Received {
                number: origin.signal,
                from_terminal: matches!(origin.cause, Cause::Kernel),
            });
        }
    })?;
    Ok(())
}

/// Whether this process was started with a signal ignored, as `nohup` does with SIGHUP, and a shell with SIGINT for what
/// it runs in the background. It should stay ignored, here and in what is run from here. Known on Linux only.
pub(crate) fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}
