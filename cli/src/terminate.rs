//! Ends the session that holds a ticket.

use crate::{database::Database, fault::Fault, view::HolderView};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Bool, Integer, Text},
};
use diesel_dbsemaphore as sem;
use std::io::{IsTerminal, Write, stdin, stdout};

#[derive(QueryableByName)]
struct Terminated {
    #[diesel(sql_type = Bool)]
    ended: bool,
}

pub(crate) fn terminate(
    database: &Database,
    name: &str,
    ticket: i64,
    yes: bool,
) -> Result<(), Fault> {
    let conn = &mut database.connect()?;
    let holder = sem::holders(conn, name)?
        .into_iter()
        .find(|holder| holder.ticket == ticket)
        .ok_or_else(|| not_held(name, ticket))?;
    let holder = HolderView::from(holder);
    let Some(pid) = holder.session.pid else {
        return Err(Fault::new(format_args!(
            "the session that holds ticket {ticket} can't be found: it was locked by other means than this library's"
        )));
    };
    if !yes && !confirmed(name, &holder)? {
        return Err(Fault::new("nothing was done"));
    }
    // Only if it is still that session's: the ticket may have gone from hand to hand while somebody thought about it.
    let ended: Option<Terminated> = sql_query(
        "SELECT pg_catalog.pg_terminate_backend(h.pid, 5000) AS ended FROM dbsemaphore.holders($1) AS h \
         WHERE h.ticket = $2 AND h.pid = $3",
    )
    .bind::<Text, _>(name)
    .bind::<BigInt, _>(ticket)
    .bind::<Integer, _>(pid)
    .get_result(conn)
    .optional()
    .map_err(|error| {
        Fault::new(format_args!(
            "session {pid} can't be ended: {error} (it takes the same role, or membership in pg_signal_backend)"
        ))
    })?;
    match ended {
        None => Err(not_held(name, ticket)),
        Some(Terminated { ended: false }) => Err(Fault::new(format_args!(
            "session {pid} was told to end, and hasn't ended within 5 s"
        ))),
        Some(Terminated { ended: true }) => {
            println!("session {pid} has ended, ticket {ticket} of {name:?} is back");
            Ok(())
        }
    }
}

fn not_held(name: &str, ticket: i64) -> Fault {
    Fault::new(format_args!(
        "nobody holds ticket {ticket} of {name:?}, or no longer the same session: `dbsemaphore show` tells who holds what"
    ))
}

fn confirmed(name: &str, holder: &HolderView) -> Result<bool, Fault> {
    if !stdin().is_terminal() {
        return Err(Fault::new(
            "there is nobody to ask: confirm with --yes that the session is to be ended",
        ));
    }
    let [ticket, pid, role, application, label, client, age] = holder.row();
    let who: Vec<String> = [role, application, label, client]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    print!(
        "Session {pid} ({}) has held ticket {ticket} of {name:?} for {age}.\nEnd it, with all it does? [y/N] ",
        who.join(", ")
    );
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
