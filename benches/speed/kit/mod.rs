//! What the topics share: rounds, clients, a server with something on it, figures, tables.

mod clients;
mod dice;
mod figures;
mod network;
mod report;
mod rounds;
mod stage;

pub(crate) use clients::{Client, PgPool, rate};
pub(crate) use dice::Dice;
pub(crate) use figures::{Spread, ratios};
pub(crate) use report::{Report, Row, Section};
pub(crate) use rounds::{interleave, rates};
pub(crate) use stage::{Stage, number};

/// Starts another process of this program, even if the file has been rebuilt since this one was started. On Linux only.
pub(crate) fn this_program() -> std::process::Command {
    std::process::Command::new("/proc/self/exe")
}
