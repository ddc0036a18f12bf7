//! Prints results and messages. Nothing here panics, in whatever state standard output and standard error are, and a
//! message never blocks its caller.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{SigSet, Signal},
    unistd,
};
use std::{
    fmt::Display,
    io::{self, stderr, stdout},
    os::fd::AsFd,
    sync::{
        LazyLock,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

/// How long the tool waits at its end for messages to be written.
const LINGER: Duration = Duration::from_secs(1);

enum Order {
    Write(String),
    /// Answered when all earlier messages are written.
    Finish(Sender<()>),
}

/// The thread that writes messages, because standard error may be a pipe that nobody reads. `None` if it can't start.
static WRITER: LazyLock<Option<Sender<Order>>> = LazyLock::new(|| {
    let (order, orders) = mpsc::channel();
    let writer = thread::Builder::new()
        .name("messages".to_owned())
        .spawn(move || write_messages(&orders));
    writer.is_ok().then_some(order)
});

fn write_messages(orders: &Receiver<Order>) {
    // A write may raise SIGTTOU, which would stop the tool, or SIGXFSZ, which would end it. If these are blocked, the write only succeeds or fails.
    let _ = SigSet::all().thread_block();
    while let Ok(order) = orders.recv() {
        match order {
            // There is no other place to report that a message can't be written.
            Order::Write(text) => drop(write(stderr(), text.as_bytes())),
            Order::Finish(finished) => drop(finished.send(())),
        }
    }
}

/// Returns whether messages can be written without blocking the caller.
pub(crate) fn is_ready() -> bool {
    WRITER.is_some()
}

/// Prints a message in one line on standard error.
pub(crate) fn say(message: impl Display) {
    print_error(format!("dbsemaphore: {message}\n"));
}

/// Prints text on standard error.
pub(crate) fn print_error(text: String) {
    let Some(writer) = &*WRITER else {
        // Without the thread, nothing is supervised. If the pipe has no room for the message, the message is dropped.
        let error = stderr();
        let mut room = [PollFd::new(error.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut room, PollTimeout::ZERO) == Ok(1) {
            let _ = write(&error, text.as_bytes());
        }
        return;
    };
    let _ = writer.send(Order::Write(text));
}

/// Waits until all messages are written, for at most [`LINGER`].
pub(crate) fn finish() {
    let (finished, is_finished) = mpsc::channel();
    if let Some(writer) = &*WRITER {
        let _ = writer.send(Order::Finish(finished));
        let _ = is_finished.recv_timeout(LINGER);
    }
}

/// Prints text on standard output, and waits for its reader as any filter does. If the reader has ended, this is no
/// error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    // A file that has reached its maximum size causes an error, and does not end the process.
    let mut too_large = SigSet::empty();
    too_large.add(Signal::SIGXFSZ);
    let _ = too_large.thread_block();
    match write(stdout(), text.as_bytes()) {
        Err(Errno::EPIPE) => Ok(()),
        written => Ok(written?),
    }
}

/// Writes the whole text, also to a non-blocking descriptor.
fn write(output: impl AsFd, mut text: &[u8]) -> nix::Result<()> {
    while !text.is_empty() {
        match unistd::write(&output, text) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut full = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
                // The next write reports an error.
                let _ = poll(&mut full, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Standard output for `top`, unbuffered.
#[derive(Debug)]
pub(crate) struct Terminal;

impl io::Write for Terminal {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        write(stdout(), text)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
