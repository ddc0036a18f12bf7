//! Ends what holds a ticket: a session of the server, or on SQLite a process.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::{
    database::{Connection, Database},
    fault::Fault,
    output, view,
};
use diesel::QueryResult;
use diesel_dbsemaphore::{self as sem, BackendConnection, Holder, TicketConnection};
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::collections::BTreeMap;
use std::{
    io::{IsTerminal, stdin},
    time::Duration,
};

/// How long a session or process has to end.
const ENDING: Duration = Duration::from_secs(5);

/// A held ticket, with what distinguishes its holder from a later one.
struct Hold {
    name: String,
    holder: Holder,
    proof: Proof,
}

enum Proof {
    #[cfg(feature = "postgres")]
    Postgres(postgres::Proof),
    #[cfg(feature = "mysql")]
    Mysql(mysql::Proof),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Proof),
}

/// What distinguishes the holders of a semaphore from later ones. Queried before the holders, so that a holder who acquires a
/// ticket in between has none.
pub(crate) enum Proofs {
    #[cfg(feature = "postgres")]
    Postgres(BTreeMap<i64, postgres::Proof>),
    #[cfg(feature = "mysql")]
    Mysql(BTreeMap<i64, String>),
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[allow(dead_code)]
    None,
}

impl Proofs {
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        expect(unused_variables, reason = "SQLite's holders suffice")
    )]
    pub(crate) fn query(conn: &mut Connection, name: &str) -> QueryResult<Self> {
        Ok(match conn.backend() {
            #[cfg(feature = "postgres")]
            BackendConnection::Postgres(conn) => {
                Self::Postgres(postgres::Proof::select_all(conn, name)?)
            }
            #[cfg(feature = "mysql")]
            BackendConnection::Mysql(conn) => Self::Mysql(mysql::since(conn, name)?),
            #[cfg(feature = "sqlite")]
            BackendConnection::Sqlite(_) => Self::Sqlite,
            _ => Self::None,
        })
    }

    /// The text for [`Hold::is_shown_by`], if the holder can be ended.
    pub(crate) fn text(&self, holder: &Holder) -> Option<String> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(proofs) => proofs.get(&holder.ticket)?.text(holder),
            #[cfg(feature = "mysql")]
            Self::Mysql(since) => Some(mysql::Proof::of(holder, since)?.text()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Some(sqlite::Start::of(holder)?.text()),
            Self::None => None,
        }
    }
}

pub(crate) fn terminate(
    database: &Database,
    name: &str,
    ticket: i64,
    yes: bool,
    proof: Option<&str>,
) -> Result<(), Fault> {
    let mut conn = database.connect()?;
    let hold = find(&mut conn, name, ticket)?;
    if proof.is_some_and(|proof| !hold.is_shown_by(proof)) {
        return Err(Fault::new(format_args!(
            "ticket {ticket} of {name:?} has another holder now"
        )));
    }
    if !yes && !confirmed(&hold)? {
        return Err(Fault::new("nothing was done"));
    }
    // Another session may hold the ticket after the question was answered.
    let done = end(&mut conn, &hold)?;
    output::print(&format!("{done}\n")).map_err(Fault::output)
}

/// Finds the holder of a ticket.
fn find(conn: &mut Connection, name: &str, ticket: i64) -> Result<Hold, Fault> {
    let holder = holder(conn, name, ticket)?.ok_or_else(|| not_held(name, ticket))?;
    let proof = match conn.backend() {
        #[cfg(feature = "postgres")]
        BackendConnection::Postgres(conn) => {
            Proof::Postgres(postgres::Proof::find(conn, name, &holder)?)
        }
        #[cfg(feature = "mysql")]
        BackendConnection::Mysql(conn) => Proof::Mysql(mysql::Proof::find(conn, name, &holder)?),
        #[cfg(feature = "sqlite")]
        BackendConnection::Sqlite(_) => Proof::Sqlite(sqlite::Proof::find(&holder)?),
        _ => return Err(Fault::new("this version can't end holders of this backend")),
    };
    Ok(Hold {
        name: name.to_owned(),
        holder,
        proof,
    })
}

/// Ends the holder, if it still holds the ticket. Returns what was done.
fn end(conn: &mut Connection, hold: &Hold) -> Result<String, Fault> {
    let (name, ticket) = (&hold.name, hold.holder.ticket);
    match (&hold.proof, conn.backend()) {
        #[cfg(feature = "postgres")]
        (Proof::Postgres(proof), BackendConnection::Postgres(conn)) => {
            proof.end(conn, name, ticket)?;
        }
        #[cfg(feature = "mysql")]
        (Proof::Mysql(proof), BackendConnection::Mysql(conn)) => proof.end(conn, name, ticket)?,
        #[cfg(feature = "sqlite")]
        (Proof::Sqlite(proof), BackendConnection::Sqlite(conn)) => {
            proof.end(conn, name, ticket)?;
        }
        _ => return Err(Fault::new("the holder is one of another database")),
    }
    Ok(format!(
        "{} has ended, ticket {ticket} of {name:?} is released",
        hold.who()
    ))
}

impl Hold {
    /// Returns whether the text is one of this hold, and not of an earlier one.
    fn is_shown_by(&self, text: &str) -> bool {
        match &self.proof {
            #[cfg(feature = "postgres")]
            Proof::Postgres(proof) => proof.text(&self.holder).is_some_and(|own| own == text),
            #[cfg(feature = "mysql")]
            Proof::Mysql(proof) => proof.text() == text,
            #[cfg(feature = "sqlite")]
            Proof::Sqlite(proof) => proof.start().is_in(text),
        }
    }

    fn kind(&self) -> &'static str {
        match self.proof {
            #[cfg(feature = "sqlite")]
            Proof::Sqlite(_) => "process",
            #[allow(unreachable_patterns)]
            _ => "session",
        }
    }

    fn who(&self) -> String {
        let pid = self.holder.session.pid.unwrap_or_default();
        format!("{} {pid}", self.kind())
    }
}

/// Returns who holds the ticket now.
fn holder<C: TicketConnection>(
    conn: &mut C,
    name: &str,
    ticket: i64,
) -> Result<Option<Holder>, Fault> {
    let mut holders = sem::holders(conn, name)?.into_iter();
    Ok(holders.find(|holder| holder.ticket == ticket))
}

/// Waits until something holds. Returns `false` if it does not within [`ENDING`].
#[cfg(any(feature = "mysql", feature = "sqlite"))]
fn wait_until(mut holds: impl FnMut() -> Result<bool, Fault>) -> Result<bool, Fault> {
    let began = std::time::Instant::now();
    while !holds()? {
        if began.elapsed() > ENDING {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

fn not_held(name: &str, ticket: i64) -> Fault {
    Fault::new(format_args!(
        "nobody holds ticket {ticket} of {name:?}, or no longer the same session: `dbsemaphore show` shows who holds what"
    ))
}

fn not_ended(who: &str, pid: i32) -> Fault {
    Fault::new(format_args!(
        "{who} {pid} has not ended within {} s",
        ENDING.as_secs()
    ))
}

fn not_found(ticket: i64) -> Fault {
    Fault::new(format_args!(
        "the session that holds ticket {ticket} can't be found: it was locked by other means than this library's"
    ))
}

fn confirmed(hold: &Hold) -> Result<bool, Fault> {
    if !stdin().is_terminal() {
        return Err(Fault::new(
            "standard input is not a terminal: pass --yes to end the session without confirmation",
        ));
    }
    let [ticket, _, role, application, label, client, age] = view::holder_row(&hold.holder);
    let age = (!age.is_empty()).then(|| format!("for {age}"));
    let known: Vec<String> = [role, application, label, client]
        .into_iter()
        .filter(|text| !text.is_empty())
        .chain(age)
        .collect();
    let known = match &*known.join(", ") {
        "" => String::new(),
        known => format!(" ({known})"),
    };
    let (name, kind, who) = (&hold.name, hold.kind(), hold.who());
    output::print(&format!(
        "Ticket {ticket} of {name:?} is held by {who}{known}.\nEnd this {kind} and its work? [y/N] "
    ))
    .map_err(Fault::output)?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
