//! What is SQLite's alone: the lock files, and what surrounds them.

mod basics;
mod children;
mod database;
mod dice;
mod fuzz;
mod queue;
mod surroundings;

pub(crate) use database::Database;
