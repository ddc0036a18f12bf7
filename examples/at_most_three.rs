//! Five threads, three tickets. On SQLite, nothing has to be installed: `cargo run --example at_most_three --features sqlite`. On
//! a server: `DATABASE_URL=postgres://.. cargo run --example at_most_three`.

use diesel::r2d2::{ManageConnection, Pool};
use diesel_dbsemaphore::{self as sem, Request, TicketConnection};
use std::{
    env,
    error::Error,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
    time::Duration,
};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL");
    #[cfg(feature = "postgres")]
    if let Some(url) = url.iter().find(|url| url.starts_with("postgres")) {
        return run(diesel::r2d2::ConnectionManager::<diesel::PgConnection>::new(url));
    }
    #[cfg(feature = "sqlite")]
    {
        let file = env::temp_dir()
            .join("at_most_three.db")
            .display()
            .to_string();
        let url = url.unwrap_or(file);
        run(diesel::r2d2::ConnectionManager::<diesel::SqliteConnection>::new(url))
    }
    #[cfg(not(feature = "sqlite"))]
    Err(format!("no database for DATABASE_URL = {url:?}").into())
}

fn run<M>(manager: M) -> Result<(), Box<dyn Error>>
where
    M: ManageConnection,
    M::Connection: TicketConnection,
{
    let ticket_pool = Pool::builder().max_size(5).build(manager)?;
    let mut conn = ticket_pool.get()?;
    sem::run_migrations(&mut conn)?;
    sem::make(&mut conn, "third party", 3)?;
    drop(conn);

    let (inside, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || {
        let request = Request::new("third party").wait(Duration::from_secs(30));
        let done: sem::Result<()> = sem::with_ticket(&ticket_pool, request, |ticket| {
            println!("{} is mine", ticket.ticket());
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            thread::sleep(Duration::from_millis(200)); // the call to the third party
            inside.fetch_sub(1, SeqCst);
            Ok(())
        });
        if let Err(error) = done {
            eprintln!("{error}");
        }
    };
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(work);
        }
    });
    println!("{} at most at the same time", most.into_inner());
    Ok(())
}
