//! What a backend has to know about a guard. Each backend has fields of its own, and none of its types is needed for them.

#[cfg(feature = "sqlite")]
use diesel::result::QueryResult;
#[cfg(feature = "sqlite")]
use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
};

/// What a backend has to know about a guard. Nothing for PostgreSQL.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    #[cfg(feature = "mysql")]
    pub(super) rows: HeldRows,
    #[cfg(feature = "sqlite")]
    pub(super) files: Option<Box<dyn HeldFiles>>,
}

/// The rows that the transaction of a guard has locked or written.
#[cfg(feature = "mysql")]
#[derive(Debug, Default)]
pub(super) struct HeldRows {
    pub(super) ticket_ids: Vec<i64>,
    /// A row was to be seen by others. The end of the transaction has to roll it back.
    pub(super) has_written: bool,
}

/// Tickets that are held outside of the database. Dropping this releases them.
#[cfg(feature = "sqlite")]
pub(super) trait HeldFiles: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Fails if others can acquire these tickets.
    fn check(&self) -> QueryResult<()>;
}
