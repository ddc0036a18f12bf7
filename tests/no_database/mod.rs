//! What needs no database.

mod compile_errors;
mod readme;
