//! Workers' sessions, as the server shows them.

use crate::fleet::Name;

#[derive(Clone, Copy)]
pub(crate) enum Doing {
    Holds,
    Waits,
    Either,
}

pub(crate) struct Session {
    pub(crate) pid: i32,
    pub(crate) name: Name,
    /// What tells its transaction from a later one.
    pub(crate) transaction: String,
}
