//! Five threads, three tickets: `DATABASE_URL=postgres://.. cargo run --example at_most_three`.

use diesel::{
    PgConnection,
    r2d2::{ConnectionManager, Pool},
};
use diesel_dbsemaphore::{self as sem, Request};
use std::{
    env,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
    time::Duration,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database_url = env::var("DATABASE_URL")?;
    let ticket_pool = Pool::builder()
        .max_size(5)
        .build(ConnectionManager::<PgConnection>::new(database_url))?;
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
