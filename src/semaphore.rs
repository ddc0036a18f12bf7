#[cfg(feature = "postgres")]
use crate::schema::dbsemaphore::semaphore;
#[cfg(feature = "mysql")]
use crate::schema::mysql::dbsemaphore_semaphore;
#[cfg(feature = "sqlite")]
use crate::schema::sqlite;
use diesel::prelude::*;

/// A row of the table of semaphores, for applications that join on it. The rows of its tickets are in
/// [`schema::dbsemaphore::ticket`](crate::schema::dbsemaphore::ticket), and their number is the size of the semaphore.
///
/// The columns `semaphore.id`, `semaphore.name`, `ticket.id` and `ticket.semaphore_id` are stable. The others are
/// internal, and may change with any release.
///
/// ```
/// use diesel::prelude::*;
/// use diesel_dbsemaphore::{self as sem, Semaphore, schema::dbsemaphore::semaphore};
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::ensure(&mut conn, "reports", 3)?;
/// let row = semaphore::table.select(Semaphore::as_select()).first(&mut conn)?;
/// assert_eq!(row.name, "reports");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// On MySQL and MariaDB, the tables are `dbsemaphore_semaphore` and `dbsemaphore_ticket` in `schema::mysql`.
/// On SQLite, they are `dbsemaphore_semaphore` and `dbsemaphore_ticket_range` in `schema::sqlite`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Queryable)]
#[cfg_attr(feature = "postgres", derive(Identifiable), diesel(table_name = semaphore))]
#[non_exhaustive]
pub struct Semaphore {
    /// The id, to which `ticket.semaphore_id` refers.
    pub id: i64,
    /// The name.
    pub name: String,
}

// Written by hand, because the derive supports one table.

#[cfg(feature = "postgres")]
impl Selectable<diesel::pg::Pg> for Semaphore {
    type SelectExpression = (semaphore::id, semaphore::name);

    fn construct_selection() -> Self::SelectExpression {
        (semaphore::id, semaphore::name)
    }
}

#[cfg(feature = "mysql")]
impl Selectable<diesel::mysql::Mysql> for Semaphore {
    type SelectExpression = (dbsemaphore_semaphore::id, dbsemaphore_semaphore::name);

    fn construct_selection() -> Self::SelectExpression {
        (dbsemaphore_semaphore::id, dbsemaphore_semaphore::name)
    }
}

#[cfg(feature = "sqlite")]
impl Selectable<diesel::sqlite::Sqlite> for Semaphore {
    type SelectExpression = (
        sqlite::dbsemaphore_semaphore::id,
        sqlite::dbsemaphore_semaphore::name,
    );

    fn construct_selection() -> Self::SelectExpression {
        (
            sqlite::dbsemaphore_semaphore::id,
            sqlite::dbsemaphore_semaphore::name,
        )
    }
}
