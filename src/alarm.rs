//! Calls functions at a time to come, from one thread of the process. Knows no database.

use std::{
    collections::BTreeMap,
    io,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Instant,
};

type Call = Box<dyn FnOnce() + Send>;

/// The functions and when each is due. The number distinguishes alarms for the same time.
#[derive(Default)]
struct Due {
    calls: BTreeMap<(Instant, u64), Call>,
    next_number: u64,
    has_thread: bool,
}

static DUE: OnceLock<Mutex<Due>> = OnceLock::new();
static CHANGED: Condvar = Condvar::new();

/// A call at a time to come. Dropping this cancels the call, unless its time has come.
pub(crate) struct Alarm((Instant, u64));

impl Alarm {
    /// Calls the function at that time, on a thread of its own. The thread that keeps the time is started when first
    /// needed.
    pub(crate) fn at(time: Instant, call: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let mut due = lock();
        if !due.has_thread {
            start("dbsemaphore-alarms", keep_time)?;
            due.has_thread = true;
        }
        due.next_number += 1;
        let key = (time, due.next_number);
        due.calls.insert(key, Box::new(call));
        if due
            .calls
            .first_key_value()
            .is_some_and(|first| *first.0 == key)
        {
            CHANGED.notify_one();
        }
        Ok(Self(key))
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        lock().calls.remove(&self.0);
    }
}

/// Nothing that holds this lock can panic in the middle of a change.
fn lock() -> MutexGuard<'static, Due> {
    DUE.get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
}

fn keep_time() {
    let mut due = lock();
    loop {
        let now = Instant::now();
        due = match due.calls.first_entry() {
            Some(first) if first.key().0 <= now => {
                let call = first.remove();
                // A logger may block.
                drop(due);
                if let Err(error) = start("dbsemaphore-alarm", call) {
                    log::error!("no thread for an alarm: {error}");
                }
                lock()
            }
            Some(first) => {
                let left = first.key().0 - now;
                let waited = CHANGED.wait_timeout(due, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait(due).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Duration};

    #[test]
    fn an_alarm_calls_in_time_and_a_dropped_one_never() {
        let (tell, told) = mpsc::channel();
        let now = Instant::now();
        let alarm = |millis: u64| {
            let tell = tell.clone();
            let time = now + Duration::from_millis(millis);
            Alarm::at(time, move || tell.send((millis, Instant::now())).unwrap()).unwrap()
        };
        let (late, dropped, early) = (alarm(40), alarm(3_600_000), alarm(20));
        drop(dropped);
        drop(tell);
        // The channel ends when each call has been made or dropped.
        let mut heard: Vec<_> = told.iter().collect();
        heard.sort();
        assert!(matches!(heard[..], [(20, _), (40, _)]), "{heard:?}");
        for (millis, at) in heard {
            assert!(at >= now + Duration::from_millis(millis));
        }
        drop((late, early));
    }
}
