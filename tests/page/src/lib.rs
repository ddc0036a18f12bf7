//! What the tests of the page and its measurements have in common: the tool as it serves, and holders and waiters to show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod load;
mod served;

pub use load::{Crowd, Work, crowd_database, database_with};
pub use served::Served;
