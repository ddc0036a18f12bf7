use crate::carrier::UnknownParcel;
use actix_web::{
    HttpResponse, ResponseError,
    error::BlockingError,
    http::{StatusCode, header},
};
use diesel::r2d2::PoolError;
use diesel_dbsemaphore as sem;

/// Why a request failed. All of it is for the log; the client learns whether it is worth trying again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("all places are taken, of those who wait as well")]
    Full,
    #[error(transparent)]
    Ticket(#[from] sem::Error),
    #[error("no connection to work with: {0}")]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
    #[error(transparent)]
    Carrier(#[from] UnknownParcel),
    /// It panicked.
    #[error(transparent)]
    Blocking(#[from] BlockingError),
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Full
            | Self::Pool(_)
            | Self::Ticket(sem::Error::Unavailable { .. } | sem::Error::Pool(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Ticket(_) | Self::Database(_) | Self::Carrier(_) | Self::Blocking(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            // That is as it should be, and may be said a thousand times a second.
            Self::Full | Self::Ticket(sem::Error::Unavailable { .. }) => log::debug!("{self}"),
            Self::Pool(_) | Self::Ticket(sem::Error::Pool(_)) => log::warn!("{self}"),
            _ => log::error!("{self}"),
        }
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        response.content_type("text/plain; charset=utf-8");
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
            response.body("busy, please try again\n")
        } else {
            response.body("that went wrong here, and is in our log\n")
        }
    }
}
