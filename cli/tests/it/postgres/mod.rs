//! What is PostgreSQL's alone. Other backends skip these tests.

mod holders;
mod limits;
mod manage;
mod pooler;
#[cfg(feature = "serve")]
mod serve;
mod supervision;
mod urls;
