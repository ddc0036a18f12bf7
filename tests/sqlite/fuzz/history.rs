//! What has happened, and what of it must not have happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::Path,
};

/// Times are in microseconds.
pub(super) struct History {
    pub(super) calls: Vec<Call>,
    pub(super) sizes: Vec<Size>,
    pub(super) snapshots: Vec<Snapshot>,
    /// When each worker was killed, by its seed.
    pub(super) kills: Vec<(u64, i64)>,
}

/// A call that acquired tickets or failed.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pid: i32,
    began: i64,
    ended: i64,
    token: i64,
    tickets: Vec<i64>,
    /// When the tickets were held for sure. Empty if not known.
    held: Range<i64>,
    error: Option<String>,
}

/// A resize, after which the size was this one.
pub(super) struct Size {
    pub(super) during: Range<i64>,
    pub(super) size: u32,
}

/// Processes that were in the queue at some time in this range.
pub(super) struct Snapshot {
    pub(super) during: Range<i64>,
    pub(super) pids: Vec<i32>,
}

/// `may_be_lost`: a ticket counts as held only if it was released without an error.
pub(super) fn read_calls(folder: &Path, kills: &[(u64, i64)], may_be_lost: bool) -> Vec<Call> {
    let kills: BTreeMap<u64, i64> = kills.iter().copied().collect();
    let mut calls = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (seed, pid) = name.split_once('.').unwrap();
        let text = fs::read_to_string(&path).unwrap();
        // A killed process may not have finished its last line.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let killed = kills[&seed.parse().unwrap()];
        calls.extend(read_log(
            pid.parse().unwrap(),
            complete,
            killed,
            may_be_lost,
        ));
    }
    calls
}

fn read_log(pid: u32, text: &str, killed: i64, may_be_lost: bool) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let (mut began, mut ends) = (0, None);
    for line in text.lines() {
        let (time, what) = line.split_once(' ').unwrap();
        let time: i64 = time.parse().unwrap();
        let mut words = what.split(' ');
        match words.next().unwrap() {
            "call" => began = time,
            word @ ("acquired" | "error") => {
                let is_error = word == "error";
                let mut call = Call {
                    pid: i32::try_from(pid).unwrap(),
                    began,
                    ended: time,
                    token: 0,
                    tickets: Vec::new(),
                    held: time..if may_be_lost { time } else { killed },
                    error: is_error.then(|| what.to_owned()),
                };
                if !is_error {
                    call.token = words.next().unwrap().parse().unwrap();
                    let ids = words.next().unwrap().split(',');
                    call.tickets = ids.map(|id| id.parse().unwrap()).collect();
                }
                calls.push(call);
            }
            "ends" => {
                ends = Some(time);
                if !may_be_lost {
                    calls.last_mut().unwrap().held.end = time;
                }
            }
            "released" => calls.last_mut().unwrap().held.end = ends.unwrap(),
            "lost" if !may_be_lost => calls.last_mut().unwrap().error = Some("lost".to_owned()),
            _ => {}
        }
    }
    calls
}

impl History {
    pub(super) fn grants(&self) -> usize {
        self.granted().count()
    }

    fn granted(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.error.is_none())
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "{} grants, {} kills, {} resizes, {} looks at the queue",
            self.grants(),
            self.kills.len(),
            self.sizes.len(),
            self.snapshots.len()
        )
    }

    pub(super) fn violations(&self) -> Vec<String> {
        let errors = self.calls.iter().filter_map(|call| call.error.clone());
        let errors: Vec<String> = errors.take(5).collect();
        [
            errors,
            self.double_holders(),
            self.deleted_tickets(),
            self.fallen_tokens(),
            self.overtaken(),
        ]
        .concat()
    }

    /// A ticket that two held at the same time.
    fn double_holders(&self) -> Vec<String> {
        let mut found = Vec::new();
        for calls in self.by_ticket().values() {
            let mut last: Option<&Call> = None;
            for call in calls.iter().filter(|call| !call.held.is_empty()) {
                match last {
                    Some(last) if call.held.start < last.held.end => {
                        found.push(format!("double: {last:?} and {call:?}"));
                    }
                    _ => {}
                }
                if last.is_none_or(|last| last.held.end < call.held.end) {
                    last = Some(call);
                }
            }
        }
        found
    }

    /// A ticket whose token was not greater than that of its former holder.
    fn fallen_tokens(&self) -> Vec<String> {
        let mut found = Vec::new();
        for calls in self.by_ticket().values() {
            for pair in calls.windows(2) {
                if pair[1].token <= pair[0].token && pair[0].ended < pair[1].began {
                    found.push(format!("token: {:?} and {:?}", pair[0], pair[1]));
                }
            }
        }
        found
    }

    /// The calls that acquired each ticket, in the order in which they held it.
    fn by_ticket(&self) -> BTreeMap<i64, Vec<&Call>> {
        let mut calls: BTreeMap<i64, Vec<&Call>> = BTreeMap::new();
        for call in self.granted() {
            for ticket in &call.tickets {
                calls.entry(*ticket).or_default().push(call);
            }
        }
        for calls in calls.values_mut() {
            calls.sort_by_key(|call| call.held.start);
        }
        calls
    }

    /// More tickets that were held between two resizes than the size: then at least one of them had been deleted.
    fn deleted_tickets(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (index, size) in self.sizes.iter().enumerate() {
            let next = self.sizes.get(index + 1);
            let end = next.map_or(i64::MAX, |next| next.during.start);
            let held = self.granted().filter(|call| {
                !call.held.is_empty() && call.held.start < end && size.during.end < call.held.end
            });
            let tickets: BTreeSet<i64> = held.flat_map(|call| call.tickets.clone()).collect();
            if tickets.len() > size.size as usize {
                found.push(format!(
                    "{} tickets held of {} after {:?}",
                    tickets.len(),
                    size.size,
                    size.during
                ));
            }
        }
        found
    }

    /// A call that began when another one was in the queue, and acquired its tickets first. Tokens say who was first: a waiter
    /// gets its token before it leaves the queue.
    fn overtaken(&self) -> Vec<String> {
        let mut by_time: Vec<&Call> = self.granted().collect();
        by_time.sort_by_key(|call| call.began);
        let mut first_after = by_time.clone();
        for index in (1..first_after.len()).rev() {
            if first_after[index].token < first_after[index - 1].token {
                first_after[index - 1] = first_after[index];
            }
        }
        let mut by_process: BTreeMap<i32, Vec<&Call>> = BTreeMap::new();
        for call in &by_time {
            by_process.entry(call.pid).or_default().push(call);
        }
        let mut found = Vec::new();
        for Snapshot { during, pids } in &self.snapshots {
            let later = by_time.partition_point(|call| call.began <= during.end);
            let Some(first) = first_after.get(later) else {
                continue;
            };
            for waiter in pids.iter().filter_map(|pid| by_process.get(pid)) {
                let next = waiter.partition_point(|call| call.ended <= during.end);
                match waiter.get(next) {
                    Some(waited) if waited.began < during.start && first.token < waited.token => {
                        found.push(format!("overtaken: {waited:?} by {first:?}"));
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
