//! The steps of a random sequence.

use diesel_dbsemaphore::Request;
use proptest::prelude::*;
use std::time::Duration;

pub(super) const SESSIONS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WaitLimit {
    None,
    Short,
    Forever,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Acquire(usize, u32, WaitLimit),
    Guard(usize, u32, WaitLimit),
    Savepoint(usize),
    RollBackToSavepoint(usize),
    ReleaseSavepoint(usize),
    Commit(usize),
    RollBack(usize),
    Cancel(usize),
    Kill(usize),
    Make(u32),
    Destroy,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let session = 0..SESSIONS;
    let limit = prop_oneof![
        4 => Just(WaitLimit::None), 1 => Just(WaitLimit::Short), 4 => Just(WaitLimit::Forever)];
    let request = (session.clone(), 1..4u32, limit);
    prop_oneof![
        8 => request.clone().prop_map(|(session, tickets, limit)| Step::Acquire(session, tickets, limit)),
        4 => request.prop_map(|(session, tickets, limit)| Step::Guard(session, tickets, limit)),
        2 => session.clone().prop_map(Step::Savepoint),
        2 => session.clone().prop_map(Step::RollBackToSavepoint),
        1 => session.clone().prop_map(Step::ReleaseSavepoint),
        3 => session.clone().prop_map(Step::Commit),
        3 => session.clone().prop_map(Step::RollBack),
        1 => session.clone().prop_map(Step::Cancel),
        1 => session.prop_map(Step::Kill),
        2 => (0..5u32).prop_map(Step::Make),
        1 => Just(Step::Destroy),
    ]
}

pub(super) fn request(tickets: u32, limit: WaitLimit) -> Request<'static> {
    let request = Request::new("x").tickets(tickets);
    match limit {
        WaitLimit::None => request,
        WaitLimit::Short => request.wait(Duration::from_millis(15)),
        WaitLimit::Forever => request.wait_forever(),
    }
}
