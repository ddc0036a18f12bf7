//! What the topics share. Only the stage is MySQL's own.

#[path = "../../speed/kit/clients.rs"]
mod clients;
#[path = "../../speed/kit/dice.rs"]
mod dice;
#[path = "../../speed/kit/figures.rs"]
mod figures;
#[path = "../../speed/kit/program.rs"]
mod program;
#[path = "../../speed/kit/report.rs"]
mod report;
#[path = "../../speed/kit/rounds.rs"]
mod rounds;
mod stage;

pub(crate) use clients::{Client, rate};
pub(crate) use dice::Dice;
pub(crate) use figures::{Spread, ratios};
pub(crate) use program::this_program;
pub(crate) use report::{Report, Row, Section};
pub(crate) use rounds::{interleave, rates};
pub(crate) use stage::{ROW_LOCK, Stage, waiting};
pub(crate) use stand::mysql::Server;

/// What all topics measure.
pub(crate) type Conn = diesel::MysqlConnection;
