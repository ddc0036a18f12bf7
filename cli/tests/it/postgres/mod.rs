//! What is PostgreSQL's alone. Other backends skip these tests.

mod holders;
mod limits;
mod manage;
mod pooler;
mod supervision;
mod urls;
