//! Waiting for a ticket, above the backends.

use crate::{
    Request, Result, Ticket,
    backend::{AcquireParams, Backend, Hold},
    cancel,
    deadline::Deadline,
};
use std::time::Duration;

/// Waits in the queue. After an error, call `Backend::abort_guard`, or call this inside `Backend::wait_in_transaction`.
pub(crate) fn wait(
    backend: &mut dyn Backend,
    request: &Request<'_>,
    params: AcquireParams<'_>,
    deadline: Deadline,
    hold: &mut Hold,
) -> Result<Option<Ticket>> {
    let id = cancel::random_id();
    // From here on, the loop sees a cancellation, or `cancel` looks for the wait until the server knows it or it has ended.
    let _added: Vec<_> = request.tokens().map(|token| token.add(id)).collect();
    loop {
        request.check_cancellation()?;
        let remaining_ms = deadline.remaining_ms();
        let answer = backend
            .acquire(params, remaining_ms, id, hold)
            .or_else(|error| {
                // If the token was cancelled, the failure is reported as that.
                request.check_cancellation()?;
                Err(error)
            })?;
        let acquired = request.ticket(answer)?;
        // Waits again if the server's clock runs fast or was set, or if the semaphore was created again.
        if acquired.is_some() || deadline.remaining() == Some(Duration::ZERO) {
            return Ok(acquired);
        }
    }
}
