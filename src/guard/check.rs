//! Whether the ticket of a guard is still held.

use super::SemaphoreTicket;
use crate::{Result, TicketConnection, events};
use std::time::Duration;

impl<C: TicketConnection> SemaphoreTicket<C> {
    /// Checks whether the ticket is still held. Takes one round trip, which may block as long as the network does.
    ///
    /// The answer is exact for the moment at which the server gave it: while the transaction runs, nobody else can
    /// acquire its ticket.
    ///
    /// # Errors
    ///
    /// [`TicketLost`](crate::Error::TicketLost) if the ticket is lost, also at each later call. A check that is cancelled or
    /// fails ends the transaction, so the ticket is lost in this case, too.
    ///
    /// ```
    /// # use diesel_dbsemaphore::{self as sem, SemaphoreTicket};
    /// # let database = stand::Database::create();
    /// # let mut conn = database.connect();
    /// # sem::run_migrations(&mut conn)?;
    /// # sem::ensure(&mut conn, "reports", 1)?;
    /// let mut guard = SemaphoreTicket::require(&mut conn, "reports")?;
    /// for step in 0..3 {
    ///     guard.check()?;     // stop without a ticket
    ///     // .. the step ..
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&mut self) -> Result<()> {
        let known = self.lost;
        self.check_quietly(None).map_err(|cause| {
            if !known {
                events::log_lost(&self.ticket, self.since, cause.as_ref());
            }
            self.lost_error(cause)
        })
    }

    /// Checks as [`check`](Self::check) does, without an event. `next_within`: see `Backend::is_held`.
    pub(crate) fn check_quietly(
        &mut self,
        next_within: Option<Duration>,
    ) -> Result<(), Option<diesel::result::Error>> {
        let (false, Some(conn)) = (self.lost, &mut self.conn) else {
            return Err(None);
        };
        let held =
            conn.backend()
                .into_backend()
                .is_held(self.ticket.ids(), next_within, &self.hold);
        self.lost = !matches!(&held, Ok(true));
        if self.lost { Err(held.err()) } else { Ok(()) }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Records a loss that was detected and logged outside the guard.
    pub(crate) fn mark_lost(&mut self) {
        self.lost = true;
    }

    /// Drops a guard whose ticket is lost, and its connection, marked as broken.
    pub(crate) fn discard(mut self) {
        self.lost = true;
        if let Some(conn) = &mut self.conn {
            conn.backend().into_backend().mark_broken();
        }
    }
}
