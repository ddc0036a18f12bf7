//! Ends the session that holds a ticket.

#[cfg(feature = "postgres")]
mod postgres;

use crate::{database::Database, fault::Fault, output, view};
use diesel_dbsemaphore::{BackendConnection, Holder, TicketConnection};
use std::io::{IsTerminal, stdin};

pub(crate) fn terminate(
    database: &Database,
    name: &str,
    ticket: i64,
    yes: bool,
) -> Result<(), Fault> {
    let mut conn = database.connect()?;
    match conn.backend() {
        #[cfg(feature = "postgres")]
        BackendConnection::Postgres(conn) => postgres::terminate(conn, name, ticket, yes),
        _ => Err(Fault::new("only sessions of PostgreSQL can be ended")),
    }
}

fn not_held(name: &str, ticket: i64) -> Fault {
    Fault::new(format_args!(
        "nobody holds ticket {ticket} of {name:?}, or no longer the same session: `dbsemaphore show` shows who holds what"
    ))
}

fn confirmed(name: &str, holder: &Holder) -> Result<bool, Fault> {
    if !stdin().is_terminal() {
        return Err(Fault::new(
            "standard input is not a terminal: pass --yes to end the session without confirmation",
        ));
    }
    let [ticket, pid, role, application, label, client, age] = view::holder_row(holder);
    let who: Vec<String> = [role, application, label, client]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    output::print(&format!(
        "Session {pid} ({}) has held ticket {ticket} of {name:?} for {age}.\nEnd this session and its work? [y/N] ",
        who.join(", ")
    ))
    .map_err(Fault::output)?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
