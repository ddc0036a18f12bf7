//! A worker process. Everything that a user of the crate would write is in `run`.

use crate::{
    Fallible,
    database::{AnyConnection, connect},
    jobs,
    options::Task,
};
use diesel_dbsemaphore::{Request, SemaphoreTicket, Ticket};
use stand::Reporter;
use std::{path::Path, thread, time::Duration};

pub(crate) fn run(task: &Task) -> Fallible<()> {
    let me = std::process::id();
    let witness = Reporter::new(&task.witness)?;
    let mut for_tickets = connect(&task.url)?;
    let mut for_work = connect(&task.url)?;
    while jobs::count_open(&mut for_work)? > 0 {
        // Not for ever, because the last jobs may be done meanwhile.
        let request = Request::new("demo").wait(Duration::from_millis(500));
        let Some(guard) = SemaphoreTicket::acquire(&mut for_tickets, request)? else {
            continue;
        };
        witness.entered(me, guard.ticket().ids())?;
        let worked = do_one(&mut for_work, guard.ticket(), task, &witness)?;
        witness.left(me)?;
        guard.release()?;
        if !worked {
            // The others have the last jobs, and may yet die over them.
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// If this process dies meanwhile, the next holder of the ticket does the job.
fn do_one(
    conn: &mut AnyConnection,
    ticket: &Ticket,
    task: &Task,
    witness: &Reporter,
) -> Fallible<bool> {
    let token = ticket.fencing_token();
    let Some((id, path)) = jobs::claim(conn, ticket.ids()[0], token)? else {
        return Ok(false);
    };
    witness.note(&format!("job {} {path}", std::process::id()))?;
    let sha256 = jobs::digest(Path::new(&path));
    thread::sleep(task.pause);
    jobs::finish(conn, id, token, &sha256)?;
    witness.note("done")?;
    Ok(true)
}
