use crate::{kit::Stage, queue::Load};
use diesel::{Connection, PgConnection, connection::SimpleConnection};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// An interpreter that has django-dbsemaphore.
pub(crate) struct Python<'a> {
    pub(crate) program: &'a PathBuf,
    pub(crate) url: String,
}

impl<'a> Python<'a> {
    pub(crate) fn new(program: &'a PathBuf, stage: &Stage) -> Self {
        let url = stage.url();
        Self { program, url }
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(self.program);
        let program = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/benches/speed/peers/django_peer.py"
        );
        command.args([program, what, &self.url]);
        command
    }

    pub(crate) fn make(&self, semaphore: &str, tickets: u32) {
        let mut command = self.command("make");
        command.args([semaphore, &tickets.to_string()]);
        let made = command.status().expect("the interpreter can't be started");
        assert!(made.success(), "{command:?} failed");
        // As autovacuum would, sooner or later.
        let mut conn = PgConnection::establish(&self.url).unwrap();
        conn.batch_execute("VACUUM ANALYZE").unwrap();
    }

    pub(crate) fn worker(&self, number: u32, load: Load) -> Command {
        let mut command = self.command("worker");
        command.args([u128::from(number), load.hold.as_micros()].map(|word| word.to_string()));
        command
    }

    /// So many processes that take turns as fast as they can.
    pub(crate) fn clients(
        &self,
        count: usize,
        how: &str,
        semaphore: &str,
        expected: &str,
    ) -> Clients {
        let start = |_| {
            let mut command = self.command("rate");
            command.args([how, semaphore, expected]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("the interpreter can't be started");
            let said = BufReader::new(child.stdout.take().unwrap()).lines();
            Client { child, said }
        };
        Clients((0..count).map(start).collect())
    }
}

struct Client {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        // It ends when nobody can tell it anything any more.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

pub(crate) struct Clients(Vec<Client>);

impl Clients {
    /// How many turns a second they take together.
    pub(crate) fn rate(&mut self, time: Duration) -> f64 {
        for client in &mut self.0 {
            let told = client.child.stdin.as_mut().unwrap();
            writeln!(told, "{}", time.as_micros()).unwrap();
        }
        let rates = self.0.iter_mut().map(|client| {
            let line = client.said.next().expect("a client").unwrap();
            let (turns, seconds) = line.split_once(' ').unwrap();
            turns.parse::<f64>().unwrap() / seconds.parse::<f64>().unwrap()
        });
        rates.sum()
    }
}
