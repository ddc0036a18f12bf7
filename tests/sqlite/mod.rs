//! What is SQLite's alone: the lock files, and what surrounds them.

mod basics;
mod busy;
mod children;
mod database;
mod dice;
mod full_disk;
mod fuzz;
mod queue;
mod renamed;
mod rights;
mod surroundings;
mod waiting;

pub(crate) use database::Database;
