use std::fmt;

/// One ticket of a semaphore, or several that were acquired together.
///
/// This is plain data, a receipt: dropping it gives nothing back, keeping it holds nothing. The tickets are held by the
/// transaction that acquired them, until it ends.
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
    /// Their ids, as in `17,4`.
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

    /// The name of the semaphore.
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

    /// The tickets: values of the column `dbsemaphore.ticket.id`. At least one.
    ///
    /// While you hold it, nobody else holds a ticket with that id.
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

    /// How many tickets these are.
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

    /// A number that rises with every acquisition of a ticket, so that what is guarded can tell a former holder, who
    /// doesn't know yet that it lost its ticket, from the present one: see [`losing_a_ticket`](crate::guide::losing_a_ticket).
    ///
    /// For each ticket id it is greater than that of every earlier holder, also after a crash of the server, on a
    /// promoted standby, and in another cluster, after `pg_upgrade` or a dump and its restoration. The low 52 bits are the
    /// server's clock in microseconds, read after the ticket was acquired. The 11 bits above it are an epoch, which each
    /// promotion raises by 1 and [`run_migrations`](crate::run_migrations) in another cluster by 16. So this assumes that
    /// nobody sets the clock of one server back by more than the time between two holders, and that the epoch stays below
    /// 2048. [What a move needs](crate::guide::losing_a_ticket#fencing-tokens-after-a-move) is documented with the SQL for it.
    ///
    /// Asking again for what the transaction holds gives the same token, as long as it need not take more.
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
