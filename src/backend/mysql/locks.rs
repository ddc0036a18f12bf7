//! The names of the user locks. They are those of the whole server, at most 64 characters long, and their case is ignored. So a
//! hash of the database's name is part of each.

/// What a user lock means. Its number is an id of a semaphore or a ticket, or the number of a wait. That of migrations is 0.
#[derive(Clone, Copy)]
pub(super) enum Lock {
    /// The head of the queue of a semaphore.
    QueueHead,
    /// The head has searched and found too few tickets: a request that does not wait is refused.
    NoOvertaking,
    /// A guard holds this ticket. Shows who, and nothing depends on it.
    Holder,
    /// This wait is running.
    Wait,
    /// Somebody is cancelling this wait.
    Cancel,
    Migrations,
}

impl Lock {
    /// The name as an SQL expression. `number` is SQL, too.
    pub(super) fn name(self, number: impl std::fmt::Display) -> String {
        let kind = match self {
            Self::QueueHead => 'q',
            Self::NoOvertaking => 'o',
            Self::Holder => 'h',
            Self::Wait => 'w',
            Self::Cancel => 'c',
            Self::Migrations => 'm',
        };
        format!("CONCAT('dbsemaphore.{kind}.', LEFT(SHA2(DATABASE(), 256), 16), '.', {number})")
    }
}
