//! What needs no database.

// Messages of the compiler name the types of each backend.
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod compile_errors;
mod readme;
