//! A worker process. Everything that a user of the crate would write is in `run`.

use crate::{Fallible, jobs, options::Task};
use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::{Request, SemaphoreTicket};
use stand::Reporter;
use std::{path::Path, thread, time::Duration};

pub(crate) fn run(task: &Task) -> Fallible<()> {
    let me = std::process::id();
    let witness = Reporter::new(&task.witness)?;
    let mut for_tickets = PgConnection::establish(&task.url)?;
    let mut for_work = PgConnection::establish(&task.url)?;
    while jobs::count_open(&mut for_work)? > 0 {
        // Not for ever, because the last jobs may be done meanwhile.
        let request = Request::new("demo").wait(Duration::from_millis(500));
        let Some(ticket) = SemaphoreTicket::acquire(&mut for_tickets, request)? else {
            continue;
        };
        witness.entered(me, ticket.ticket().ids())?;
        let worked = do_one(&mut for_work, task, &witness)?;
        witness.left(me)?;
        ticket.release()?;
        if !worked {
            // The others have the last jobs, and may yet die over them.
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// If this process dies meanwhile, PostgreSQL releases the job as it releases the ticket.
fn do_one(conn: &mut PgConnection, task: &Task, witness: &Reporter) -> Fallible<bool> {
    conn.transaction(|conn| {
        let Some((id, path)) = jobs::take(conn)? else {
            return Ok(false);
        };
        witness.note(&format!("job {} {path}", std::process::id()))?;
        let sha256 = jobs::digest(Path::new(&path));
        thread::sleep(task.pause);
        jobs::finish(conn, id, &sha256)?;
        witness.note("done")?;
        Ok(true)
    })
}
