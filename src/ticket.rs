use std::fmt;

/// A receipt for one ticket of a semaphore, or for several.
///
/// This is plain data: to drop it releases nothing, and to keep it holds nothing. The transaction that acquired the
/// tickets holds them until it ends.
///
/// ```
/// use diesel_dbsemaphore as sem;
/// # use diesel::Connection;
/// # let database = stand::Database::create();
/// # let mut conn = database.connect();
/// # sem::run_migrations(&mut conn)?;
///
/// sem::ensure(&mut conn, "reports", 3)?;
/// let ticket = conn.transaction(|c| sem::require(c, "reports"))?;
/// assert_eq!(ticket.to_string(), format!("reports#{}", ticket.ids()[0]));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    semaphore: String,
    ids: Vec<i64>,
    fencing_token: i64,
}

impl Ticket {
    /// Returns the ids as text, such as `17,4`.
    pub(crate) fn listed(&self) -> impl fmt::Display + '_ {
        struct Listed<'a>(&'a [i64]);

        impl fmt::Display for Listed<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (position, id) in self.0.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma}{id}")?;
                }
                Ok(())
            }
        }
        Listed(&self.ids)
    }

    pub(crate) fn new(semaphore: &str, ids: Vec<i64>, fencing_token: i64) -> Self {
        Self {
            semaphore: semaphore.to_owned(),
            ids,
            fencing_token,
        }
    }

    /// Returns the name of the semaphore.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # use diesel::Connection;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 3)?;
    /// let ticket = conn.transaction(|c| sem::require(c, "reports"))?;
    /// assert_eq!(ticket.semaphore(), "reports");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn semaphore(&self) -> &str {
        &self.semaphore
    }

    /// Returns the ids of the tickets, at least one. These are values of the column `dbsemaphore.ticket.id`.
    ///
    /// While the tickets are held, nobody else holds a ticket with one of these ids.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # use diesel::Connection;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 3)?;
    /// # conn.transaction::<_, sem::Error, _>(|c| {
    /// let ticket = sem::require(c, "reports")?;
    /// let again = sem::require(c, "reports")?;
    /// assert_eq!(ticket.ids(), again.ids());
    /// # Ok(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Returns the number of tickets.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, Request};
    /// # use diesel::Connection;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 3)?;
    /// # conn.transaction::<_, sem::Error, _>(|c| {
    /// let ticket = sem::require(c, Request::new("reports").tickets(3))?;
    /// assert_eq!(ticket.count(), 3);
    /// # Ok(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    /// Returns the fencing token, a number that increases with each acquisition. Store it with your writes to reject
    /// late writes by an earlier holder: see [fencing](crate::guide::losing_a_ticket#fencing).
    ///
    /// For each ticket id, the token is greater than the token of every earlier holder. This also holds after a crash
    /// of the server, on a promoted standby, and in another cluster after `pg_upgrade` or a dump and restore: see
    /// [moves](crate::guide::losing_a_ticket#fencing-tokens-after-a-move).
    ///
    /// The low 52 bits are the server's clock in microseconds, read after the ticket was acquired. The 11 bits above
    /// are an epoch, which increases by 1 with each promotion, and by 16 when
    /// [`run_migrations`](crate::run_migrations) is called in another cluster. Limits: nobody sets the clock of a
    /// server back by more than the time between two holders, and the epoch remains below 2048. Tokens may decrease if a
    /// semaphore is destroyed and created again after its data were moved to another cluster.
    ///
    /// On MySQL and MariaDB, the token is the clock alone: see [`mysql`](crate::guide::mysql#fencing-tokens).
    ///
    /// A second request in the same transaction returns the same token, unless it acquires further tickets.
    ///
    /// ```
    /// # use diesel_dbsemaphore as sem;
    /// # use diesel::Connection;
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let former = conn.transaction(|c| sem::require(c, "reports"))?;
    /// let present = conn.transaction(|c| sem::require(c, "reports"))?;
    /// assert!(former.fencing_token() < present.fencing_token());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn fencing_token(&self) -> i64 {
        self.fencing_token
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.semaphore, self.listed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_with_its_ids() {
        assert_eq!(
            Ticket::new("reports", vec![17], 5).to_string(),
            "reports#17"
        );
        assert_eq!(
            Ticket::new("reports", vec![17, 4], 5).to_string(),
            "reports#17,4"
        );
    }
}
