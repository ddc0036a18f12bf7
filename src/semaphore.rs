use crate::schema::dbsemaphore::semaphore;
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Identifiable, Queryable, Selectable)]
#[diesel(table_name = semaphore, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
pub struct Semaphore {
    /// The id, to which `ticket.semaphore_id` refers.
    pub id: i64,
    /// The name.
    pub name: String,
}
