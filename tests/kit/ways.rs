//! Each way to acquire a ticket, as a function that releases it at once. It returns the fencing token, or `None` if no ticket was
//! available in time.

use diesel::Connection;
use diesel_dbsemaphore::{
    self as sem, Error, Request, SemaphoreTicket, TicketConnection, TransactionConnection,
};

pub(crate) type Way<C> = fn(&mut C, Request<'_>) -> sem::Result<Option<i64>>;

pub(crate) fn by_guard<C: TicketConnection>(
    conn: &mut C,
    request: Request<'_>,
) -> sem::Result<Option<i64>> {
    let Some(guard) = SemaphoreTicket::acquire(conn, request)? else {
        return Ok(None);
    };
    let token = guard.ticket().fencing_token();
    guard.release()?;
    Ok(Some(token))
}

/// By the function `transaction`.
pub(crate) fn by_transaction<C: TicketConnection + Connection>(
    conn: &mut C,
    request: Request<'_>,
) -> sem::Result<Option<i64>> {
    match sem::transaction(conn, request, |_, ticket| Ok(ticket.fencing_token())) {
        Err(Error::Unavailable { .. }) => Ok(None),
        token => token.map(Some),
    }
}

/// In your transaction, which continues whatever the answer is.
pub(crate) fn in_your_transaction<C: TransactionConnection + Connection>(
    conn: &mut C,
    request: Request<'_>,
) -> sem::Result<Option<i64>> {
    let acquired = conn.transaction(|c| {
        let acquired = sem::acquire(c, request);
        c.batch_execute("SELECT 1")?;
        Ok::<_, Error>(acquired)
    })?;
    Ok(acquired?.map(|ticket| ticket.fencing_token()))
}
