use super::{Conn, Stage};
use diesel::{
    Connection,
    r2d2::{ConnectionManager, Pool},
};
use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

pub(crate) type ClientPool = Pool<ConnectionManager<Conn>>;

/// One who acquires and releases, with a connection of its own.
pub(crate) struct Client {
    /// Also the row that it locks where each has one of its own.
    pub(crate) number: i32,
    pub(crate) conn: Conn,
    /// Shared by all clients, with a connection for each.
    pub(crate) pool: Option<ClientPool>,
    /// From which it takes tickets.
    pub(crate) semaphore: &'static str,
    pub(crate) tickets: u32,
}

impl Stage {
    pub(crate) fn client(&self, number: usize, semaphore: &'static str, tickets: u32) -> Client {
        Client {
            number: i32::try_from(number).unwrap(),
            conn: Conn::establish(&self.url()).unwrap(),
            pool: None,
            semaphore,
            tickets,
        }
    }

    /// A crowd with a pool, and a semaphore that has enough tickets for all of them: nobody is refused.
    pub(crate) fn clients(&self, count: usize, semaphore: &'static str) -> Vec<Client> {
        let tickets = 8 * u32::try_from(count).unwrap();
        self.make(semaphore, tickets);
        let pool: ClientPool = Pool::builder()
            .max_size(u32::try_from(count).unwrap())
            .build(ConnectionManager::new(self.url()))
            .unwrap();
        (0..count)
            .map(|number| Client {
                pool: Some(pool.clone()),
                ..self.client(number, semaphore, tickets)
            })
            .collect()
    }
}

/// How many turns a second all clients take together. They start at once, when all are there.
pub(crate) fn rate(
    clients: &mut [Client],
    time: Duration,
    turn: impl Fn(&mut Client) + Sync,
) -> f64 {
    let start = Barrier::new(clients.len());
    let (start, turn) = (&start, &turn);
    let Some((first, others)) = clients.split_first_mut() else {
        return 0.0;
    };
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter_mut()
            .map(|client| scope.spawn(|| rate_of_one(client, start, time, turn)))
            .collect();
        // By this thread: where it runs and where its session does is a matter of chance, which one that works alone
        // should be the same each time.
        let rate = rate_of_one(first, start, time, turn);
        let rates = others.into_iter().map(|client| client.join().unwrap());
        rate + rates.sum::<f64>()
    })
}

fn rate_of_one(
    client: &mut Client,
    start: &Barrier,
    time: Duration,
    turn: &impl Fn(&mut Client),
) -> f64 {
    start.wait();
    let began = Instant::now();
    let mut turns = 0.0;
    // At least one, however long it takes.
    loop {
        turn(client);
        turns += 1.0;
        let elapsed = began.elapsed();
        if elapsed >= time {
            return turns / elapsed.as_secs_f64();
        }
    }
}
