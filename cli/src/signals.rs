//! Receives signals as messages.

use nix::{
    libc,
    sys::signal::{SigSet, SigmaskHow, Signal},
};
use signal_hook::{
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};
use std::{fs, io, thread};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) number: i32,
    /// Whether the kernel has sent the signal, and not another process. The kernel sends the signal of a key to all
    /// processes in the foreground of the terminal.
    pub(crate) from_kernel: bool,
}

/// Reports these signals from now on, in a thread of its own. The signals then have no other effect on this process.
pub(crate) fn listen(
    numbers: impl IntoIterator<Item = i32>,
    report: impl Fn(Received) + Send + 'static,
) -> io::Result<()> {
    let mut signals = SignalsInfo::<WithOrigin>::new(numbers)?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for origin in &mut signals {
                report(Received {
                    number: origin.signal,
                    from_kernel: matches!(origin.cause, Cause::Kernel),
                });
            }
        })?;
    Ok(())
}

/// The signals that would end this process and can be caught, without those that report a fault of this process itself,
/// after which the process can't continue.
pub(crate) fn fatal() -> impl Iterator<Item = i32> {
    let named = Signal::iterator().filter(|signal| match signal {
        Signal::SIGKILL | Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGFPE | Signal::SIGILL => {
            false
        }
        Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => false,
        Signal::SIGCONT | Signal::SIGCHLD | Signal::SIGURG | Signal::SIGWINCH => false,
        // Rust's start-up code ignores it.
        Signal::SIGPIPE => false,
        _ => is_fatal_here(*signal),
    });
    let ignored = ignored();
    named
        .map(|signal| signal as i32)
        .chain(real_time())
        .filter(move |number| !contains(ignored, *number))
}

#[cfg(target_os = "linux")]
fn is_fatal_here(_: Signal) -> bool {
    true
}

#[cfg(not(target_os = "linux"))]
fn is_fatal_here(signal: Signal) -> bool {
    !matches!(signal.as_str(), "SIGIO" | "SIGINFO")
}

#[cfg(target_os = "linux")]
fn real_time() -> impl Iterator<Item = i32> {
    libc::SIGRTMIN()..=libc::SIGRTMAX()
}

#[cfg(not(target_os = "linux"))]
fn real_time() -> impl Iterator<Item = i32> {
    std::iter::empty()
}

/// Returns whether the signal was ignored when this process started, as `nohup` does with SIGHUP, and a shell with
/// SIGINT for commands in the background. Such a signal remains ignored, here and in the command. Known on Linux only.
pub(crate) fn is_ignored(number: i32) -> bool {
    contains(ignored(), number)
}

fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default()
}

fn contains(mask: u64, number: i32) -> bool {
    mask >> (number - 1) & 1 == 1
}

/// Unblocks all signals, in this thread and those that it starts. Returns the signals that were blocked when this
/// process started.
pub(crate) fn unblock() -> SigSet {
    swap_mask(&SigSet::empty())
}

/// Blocks these signals and no others, in this thread. Returns the signals that were blocked before.
pub(crate) fn swap_mask(mask: &SigSet) -> SigSet {
    // Fails only for an invalid operation.
    mask.thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .unwrap_or(SigSet::empty())
}
