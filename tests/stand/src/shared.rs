//! The server that all tests of a run share. It is started when the first test needs it: by the program `stand` if a
//! process of that is above this one, so that several test programs share it.

use crate::{Backend, folder::Folder, server::Server};
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    thread,
};

/// The URL of a server to test on.
const URL: &str = "DBSEMAPHORE_TEST_URL";
/// Where the program `stand` listens.
const STAND: &str = "DBSEMAPHORE_TEST_STAND";

/// The server of `DBSEMAPHORE_TEST_URL`, if that is of this backend, or the one of the program `stand`, or a private one,
/// which lives as long as this process.
#[derive(Debug)]
pub(crate) struct Shared<B: Backend> {
    url: String,
    /// Ends with this process.
    _server: Option<Server<B>>,
}

impl<B: Backend> Shared<B> {
    pub(crate) fn find() -> Self {
        let given = env::var(URL).ok().filter(|url| {
            let scheme = url.split(':').next();
            scheme == Some(B::SCHEME)
        });
        let stand = env::var_os(STAND).map(PathBuf::from);
        if let Some(url) = given.or_else(|| stand.map(|stand| ask(&stand, B::SCHEME))) {
            return Self { url, _server: None };
        }
        let server = Server::start();
        Self {
            url: server.url(),
            _server: Some(server),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

fn ask(stand: &Path, scheme: &str) -> String {
    let mut url = String::new();
    UnixStream::connect(stand)
        .and_then(|mut stream| {
            writeln!(stream, "{scheme}")?;
            stream.read_to_string(&mut url)
        })
        .expect("an answer of the program `stand`");
    assert!(!url.is_empty(), "no server: the program `stand` says why");
    url
}

/// Tells other processes the URLs of the servers that they share, until it is dropped.
#[derive(Debug)]
pub struct Lobby {
    folder: Folder,
}

impl Lobby {
    /// `url_of` knows the URL of a server by the scheme of that.
    pub fn open(url_of: fn(&str) -> String) -> Self {
        let folder = Folder::create();
        let listener = UnixListener::bind(folder.path().join("lobby")).expect("a socket");
        thread::spawn(move || {
            for guest in listener.incoming() {
                // A server that does not start leaves the guest without an answer.
                thread::spawn(move || answer(guest.expect("a guest"), url_of));
            }
        });
        Self { folder }
    }

    /// The variable that tells other processes of it, and its value.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        (STAND, self.folder.path().join("lobby"))
    }
}

fn answer(mut guest: UnixStream, url_of: fn(&str) -> String) {
    let mut scheme = String::new();
    BufReader::new(&guest)
        .read_line(&mut scheme)
        .and_then(|_| guest.write_all(url_of(scheme.trim()).as_bytes()))
        .expect("a guest that waits");
}
