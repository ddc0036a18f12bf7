//! How long the witness allows what it sees, without a server.

use super::*;

/// The number of the session at the head.
const HEAD: i64 = 2;

/// A lock of the head.
fn lock() -> Row {
    Row {
        semaphore: 1,
        name: None,
        pid: Some(HEAD),
        granted: true,
        bars: false,
        idle: false,
        call: Some(String::new()),
        wait: None,
        tickets: 0,
        held: 0,
    }
}

/// How many violations there are if each look sees only this: at the beginning, when its time is over, and later.
fn violations(mut memory: Memory, rows: &[Row], allowed: Duration) -> [usize; 3] {
    let mut sight = Sight::default();
    let begin = now();
    [begin, begin + allowed, begin + allowed * 2].map(|at| {
        sight.take_in(&mut memory, rows, at, at);
        sight.violations.len()
    })
}

fn violations_by_a_lock(bars: bool, idle: bool, allowed: Duration) -> [usize; 3] {
    let lock = Row {
        bars,
        idle,
        ..lock()
    };
    violations(Memory::default(), &[lock], allowed)
}

#[test]
fn locks_that_outlive_a_call_or_the_place_as_head_are_found_after_a_time() {
    assert_eq!(violations_by_a_lock(false, true, CLEAN_UP), [0, 0, 1]);
    assert_eq!(violations_by_a_lock(true, false, LAST_LOCK), [0, 0, 1]);
}

/// All tickets are available while a head and a second session are in the queue. One of them may be stopped, and the head may
/// have answered.
fn violations_by_idle_tickets(is_stopped: fn(i64) -> bool, has_answered: bool) -> [usize; 3] {
    let limit = Duration::from_secs(2);
    let semaphore = Row {
        name: Some("x".into()),
        pid: None,
        granted: false,
        tickets: 1,
        ..lock()
    };
    let second = Row {
        pid: Some(HEAD + 1),
        granted: false,
        ..lock()
    };
    let memory = Memory {
        idle_limit: Some(limit),
        is_stopped: Some(is_stopped),
        ..Memory::default()
    };
    let head = Row {
        idle: has_answered,
        ..lock()
    };
    violations(memory, &[semaphore, head, second], limit)
}

#[test]
fn idle_tickets_are_found_after_a_time_unless_the_head_is_stopped() {
    assert_eq!(violations_by_idle_tickets(|_| false, false), [0, 0, 1]);
    assert_eq!(
        violations_by_idle_tickets(|pid| pid != HEAD, false),
        [0, 0, 1]
    );
    assert_eq!(
        violations_by_idle_tickets(|pid| pid == HEAD, false),
        [0, 0, 0]
    );
}

/// The locks that it has not released are found later.
#[test]
fn idle_tickets_are_not_found_while_the_head_has_answered() {
    assert_eq!(violations_by_idle_tickets(|_| false, true), [0, 0, 0]);
}
