//! What the topics share: rounds, clients, a server with something on it, figures, tables.

mod clients;
mod dice;
mod figures;
mod network;
mod program;
mod report;
mod rounds;
mod stage;

pub(crate) use clients::{Client, rate};
pub(crate) use dice::Dice;
pub(crate) use figures::{Spread, ratios};
pub(crate) use program::this_program;
pub(crate) use report::{Report, Row, Section};
pub(crate) use rounds::{interleave, rates};
pub(crate) use stage::{ROW_LOCK, Stage, number, waiting};
pub(crate) use stand::Server;

/// What all topics measure.
pub(crate) type Conn = diesel::PgConnection;
