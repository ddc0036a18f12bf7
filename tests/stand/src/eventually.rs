use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits for what a server or a process does in its own time, such as noticing that a client is gone. Panics if it
/// doesn't within 30 seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
