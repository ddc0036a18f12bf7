//! All statements that the crate sends. No policy.

mod acquire;
mod inspect;
mod manage;
mod server;

pub(crate) use acquire::*;
pub(crate) use inspect::*;
pub(crate) use manage::*;
pub(crate) use server::*;
