//! Judges what happened.

use crate::{
    Fallible,
    database::{AnyConnection, count_tickets},
    jobs,
};
use std::time::{Duration, Instant};

/// How large the semaphore was, and how many the witness counted inside meanwhile.
pub(crate) struct Phase {
    pub(crate) size: u32,
    pub(crate) most: usize,
}

pub(crate) struct Victim {
    pub(crate) ticket: i64,
    pub(crate) died: Option<Instant>,
    pub(crate) back_after: Option<Duration>,
}

/// Nothing here asks the crate.
pub(crate) fn judge(
    conn: &mut AnyConnection,
    jobs: usize,
    phases: &[Phase],
    victim: Option<&Victim>,
    doubles: usize,
) -> Fallible<bool> {
    let right = jobs::count_right(conn)?;
    let (size, available) = count_tickets(conn)?;
    let back = victim.and_then(|victim| victim.back_after);

    println!();
    println!("jobs done right          {right} of {}", jobs);
    for phase in phases {
        println!(
            "holders at {} tickets     at most {}",
            phase.size, phase.most
        );
    }
    match back {
        Some(after) => println!(
            "a killed holder's ticket in use again after {} ms",
            after.as_millis()
        ),
        None => println!("a killed holder's ticket was not seen again"),
    }
    println!("tickets leaked           {}", size - available);
    let last = phases.last().map_or(0, |phase| phase.size);
    let too_many = |phase: &Phase| phase.most > phase.size as usize;
    let wrong: Vec<&str> = [
        (right != jobs, "a job is missing"),
        (phases.iter().any(too_many), "too many holders at once"),
        (doubles > 0, "one ticket, two holders"),
        (back.is_none(), "a ticket was not released"),
        (size != i64::from(last), "the semaphore has another size"),
        (size != available, "a ticket is not available"),
    ]
    .into_iter()
    .filter_map(|(is_wrong, what)| is_wrong.then_some(what))
    .collect();
    for what in &wrong {
        println!("WRONG: {what}");
    }
    Ok(wrong.is_empty())
}
