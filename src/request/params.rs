//! What a request asks of a backend, and what becomes of the answer.

use super::Request;
use crate::{
    Error, Result, Ticket,
    backend::{AcquireOutcome, AcquireParams},
    limits,
};

impl<'a> Request<'a> {
    /// Checks the request as far as this is possible without the server. Returns the parameters for the server.
    pub(crate) fn validate(&self) -> Result<AcquireParams<'a>> {
        limits::check_name(self.semaphore)?;
        if self.tickets == 0 {
            return Err(self.invalid_tickets_error(0));
        }
        if let Some(label) = self.label {
            limits::check_label(label)?;
        }
        Ok(AcquireParams {
            semaphore: self.semaphore,
            tickets: limits::check_tickets(self.semaphore, self.tickets)?,
            host_timeout: None,
            label: self.label,
            may_wait: self.may_wait(),
        })
    }

    /// [`validate`](Self::validate) for a guard, whose `host_timeout` the server applies.
    pub(crate) fn validate_for_guard(&self) -> Result<AcquireParams<'a>> {
        const DAY: u64 = 24 * 3600;
        let seconds = self.host_timeout.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(DAY).clamp(1, DAY);
        Ok(AcquireParams {
            host_timeout: i32::try_from(seconds).ok(),
            ..self.validate()?
        })
    }

    /// Makes a ticket, `None` or an error of the answer.
    pub(crate) fn ticket(&self, answer: AcquireOutcome) -> Result<Option<Ticket>> {
        match answer {
            AcquireOutcome::UnknownSemaphore => Err(Error::UnknownSemaphore {
                name: self.semaphore.to_owned(),
            }),
            AcquireOutcome::TooFew { size } => Err(self.invalid_tickets_error(size)),
            AcquireOutcome::Unavailable => Ok(None),
            AcquireOutcome::Acquired { token, tickets } => {
                Ok(Some(Ticket::new(self.semaphore, tickets, token)))
            }
        }
    }

    fn invalid_tickets_error(&self, limit: u32) -> Error {
        Error::InvalidTickets {
            name: self.semaphore.to_owned(),
            tickets: self.tickets,
            limit,
        }
    }
}
