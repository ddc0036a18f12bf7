//! Servers of any backend.

use crate::{Backend, daemon::Daemon, database::Database, folder::Folder, port::available_port};
use diesel::Connection;
use nix::sys::signal::Signal;
use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How a server is stopped; PostgreSQL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends all sessions and shuts down in good order.
    Fast,
    /// Shuts down without a farewell to its clients; recovers at the next start. MySQL has no such way: there it is `Kill`.
    Immediate,
    /// SIGKILL of the server's first process. PostgreSQL's other processes notice and end by themselves.
    Kill,
}

/// A private server in a folder of its own, on a Unix socket and a loopback port.
///
/// It ends when it is dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct Server<B: Backend> {
    daemon: Daemon,
    pub(crate) programs: PathBuf,
    port: u16,
    pub(crate) settings: Vec<String>,
    backend: PhantomData<B>,
}

impl<B: Backend> Server<B> {
    /// With durability switched off, for tests that start and throw away many databases.
    pub fn start() -> Self {
        Self::start_with(B::WITHOUT_DURABILITY)
    }

    /// With these settings (`name=value`) beside those that every server here has.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_installation(B::programs(), settings)
    }

    pub(crate) fn start_installation(programs: PathBuf, settings: &[&str]) -> Self {
        let settings = settings.iter().map(|&setting| setting.to_owned());
        let data = |folder: &Folder| B::initialize(folder, &programs);
        Self::start_on(data, programs.clone(), settings.collect())
    }

    /// `data` creates the data in this folder.
    pub(crate) fn start_on(
        data: impl FnOnce(&Folder),
        programs: PathBuf,
        settings: Vec<String>,
    ) -> Self {
        let folder = Folder::create_for(B::USER);
        data(&folder);
        let port = available_port();
        let command = B::command(&folder, &programs, port, &settings);
        let mut server = Self {
            daemon: Daemon::launch(folder, command),
            programs,
            port,
            settings,
            backend: PhantomData,
        };
        server.wait_until_ready(0);
        server
    }

    /// A new database on this server.
    pub fn create_database(&self) -> Database<B> {
        Database::create_on(&self.url())
    }

    /// The URL of the server's own database, for an account with all rights, by the Unix socket.
    pub fn url(&self) -> String {
        B::url(self.folder(), self.port)
    }

    /// The port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server's first process.
    pub fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// What the server wrote into its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.daemon.folder().path()
    }

    /// Stops the server, and returns once it is down.
    pub fn stop(&mut self, how: Stop) {
        self.daemon.signal(B::stop_signal(how));
        self.daemon.wait();
    }

    /// Starts a server that was stopped, with its data, and returns once it accepts connections.
    pub fn start_again(&mut self) {
        let logged = self.log().len();
        self.launch_again();
        self.wait_until_ready(logged);
    }

    /// Stops it, and starts it again.
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start_again();
    }

    /// Stops its first process with SIGSTOP, until [`resume`](Self::resume). On MySQL, that is all of the server.
    pub fn pause(&self) {
        self.daemon.signal(Signal::SIGSTOP);
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.daemon.signal(Signal::SIGCONT);
    }

    fn launch_again(&mut self) {
        let folder = self.daemon.folder();
        let command = B::command(folder, &self.programs, self.port, &self.settings);
        self.daemon.launch_again(command);
    }

    /// `logged`: how much was in the log before it was launched.
    fn wait_until_ready(&mut self, mut logged: usize) {
        let url = self.url();
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = B::Connection::establish(&url) {
            let ended = self.daemon.has_ended();
            let for_good = || !B::may_start_later(&self.log()[logged..]);
            if Instant::now() > deadline || (ended && for_good()) {
                panic!("{} does not start: {error}\n{}", B::SCHEME, self.log());
            }
            if ended {
                logged = self.log().len();
                self.launch_again();
            }
            // There is nothing to wait on: a server tells nobody when it is ready.
            thread::sleep(Duration::from_millis(10));
        }
    }
}
