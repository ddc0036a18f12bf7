//! What differs between databases.

use crate::{
    arena::{Place, Urls},
    fleet::Member,
    inject::Injector,
    kind::Kind,
    session::{Doing, Session},
    witness::Row,
};
use diesel::{Connection, QueryResult, r2d2::R2D2Connection};
use diesel_dbsemaphore::TransactionConnection;
use rand::rngs::SmallRng;
use stand::Stop;
use std::time::Duration;

/// A server with a database that the fleet works in.
pub(crate) trait Backend: Sized + Send + Sync + 'static {
    type Connection: R2D2Connection + TransactionConnection + 'static;

    /// What `BACKEND=` says.
    const WORD: &'static str;

    /// Titles of faults that are called otherwise here.
    const TITLES: &'static [(Kind, &'static str)];

    /// Where the workers are on this machine. There are two more on hosts of their own.
    const PLACES: &'static [Place];

    /// For at most this time, a waiter may wait while all tickets are available. `None` if the witness does not see all holders.
    fn idle_limit(&self) -> Option<Duration>;

    /// How many times the usual pause follows a fault of the whole server: so long does a start take.
    const SERVER_PAUSES: u32;

    /// Whether the rows of one look are of one time.
    const LOOKS_ARE_ATOMIC: bool;

    /// After which time a ticket is released whose holder's host has vanished. `None` if that depends on the holder.
    const CUT_OFF: Option<Duration>;

    fn open(sabotage: Option<&str>) -> Self;

    /// Whether this server has what such a fault needs.
    fn has(&self, kind: Kind) -> bool;

    /// The URLs of the workers.
    fn urls(&self) -> Urls;

    /// The URL of the suite itself, with all rights.
    fn url(&self) -> String;

    /// `None` while the server is down.
    fn connect(&self) -> Option<Self::Connection> {
        Self::Connection::establish(&self.url()).ok()
    }

    fn restart(&mut self, how: Stop);

    /// `None` if that fails.
    fn allow_connections(&self, allow: bool) -> Option<()>;

    /// The server's number of this session.
    fn session_id(conn: &mut Self::Connection) -> QueryResult<i32>;

    /// The workers' sessions that do this, in an order that depends on nothing else.
    fn sessions(conn: &mut Self::Connection, doing: Doing, present: &[Member]) -> Vec<Session>;

    /// Whether its transaction still is. `None` if the server didn't answer.
    fn is_there(conn: &mut Self::Connection, session: &Session) -> Option<bool>;

    /// Whether the server's part of a session is stopped by a signal.
    fn is_stopped(session: i64) -> bool {
        let _ = session;
        false
    }

    /// What the server's part of a session does, after which others are stopped by a signal, as the system says.
    fn describe(session: i64) -> String {
        let _ = session;
        String::new()
    }

    fn end_session(conn: &mut Self::Connection, session: &Session) -> QueryResult<()>;

    fn cancel_statement(
        conn: &mut Self::Connection,
        session: &Session,
        times: usize,
    ) -> QueryResult<()>;

    /// Long enough for every holder to end; a stopped one may hold on for longer.
    fn limit_resize(conn: &mut Self::Connection) -> QueryResult<()>;

    /// A fault that only this backend knows. `None` if there was nobody to do it to.
    fn inject(injector: &Injector<'_, Self>, kind: Kind, random: &mut SmallRng) -> Option<()>;

    /// What the witness sees.
    fn look(conn: &mut Self::Connection) -> QueryResult<Vec<Row>>;

    /// What is still held, or locked, when all have ended: what it is, and how much.
    fn leftovers(conn: &mut Self::Connection) -> QueryResult<Vec<(&'static str, i64)>>;

    /// What else this backend must not have done.
    fn violations(&self) -> Vec<String>;

    /// Faults that were there all the time, by the server's settings.
    fn constant_faults() -> &'static [Kind] {
        &[]
    }

    fn title(kind: Kind) -> &'static str {
        let own = Self::TITLES.iter().find(|(own, _)| *own == kind);
        own.map_or_else(|| kind.title(), |(_, title)| title)
    }
}
