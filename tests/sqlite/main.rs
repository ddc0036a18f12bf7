//! SQLite alone: the lock files, and what surrounds them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod basics;
mod children;
mod fuzz;
mod queue;
mod surroundings;
mod tools;
