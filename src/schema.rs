//! The tables, for applications that join on them. [`Semaphore`](crate::Semaphore) says which columns are stable.

#[cfg(feature = "mysql")]
#[allow(missing_docs)]
pub mod mysql;
#[cfg(feature = "postgres")]
#[allow(missing_docs)]
mod postgres;
#[cfg(feature = "sqlite")]
#[allow(missing_docs)]
pub mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::dbsemaphore;
