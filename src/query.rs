//! Every statement that the crate sends, and nothing else: no policy.

mod acquire;
mod manage;
mod observe;
mod server;

pub(crate) use acquire::*;
pub(crate) use manage::*;
pub(crate) use observe::*;
pub(crate) use server::*;
