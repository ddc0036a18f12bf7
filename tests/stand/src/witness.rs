use crate::folder::Folder;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Counts who is inside, without knowing what keeps others out.
///
/// Each process reports that it is inside after it got in, and that it leaves before it lets go, through one socket. The
/// system puts what it is told into one order, and a report is in its place before the call that made it returns; so
/// when the witness counts six inside, six were inside at once.
#[derive(Debug)]
pub struct Witness {
    socket: UnixDatagram,
    folder: Folder,
    inside: BTreeMap<u32, Vec<i64>>,
    most: usize,
}

/// What a witness was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This process is inside, with these tickets.
    Entered(u32, Vec<i64>),
    /// This process is about to leave.
    Left(u32),
    /// Anything else.
    Note(String),
}

impl Witness {
    /// A new one, whom processes find by its path.
    pub fn new() -> Self {
        let folder = Folder::create();
        let socket = UnixDatagram::bind(folder.path().join("witness")).expect("a socket");
        Self {
            socket,
            folder,
            inside: BTreeMap::new(),
            most: 0,
        }
    }

    /// What a [`Reporter`] in another process needs.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    /// The next report, or none within that time.
    pub fn next(&mut self, limit: Duration) -> Option<Event> {
        let limit = limit.max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(limit))
            .expect("a time limit");
        let mut report = [0; 4096];
        let length = match self.socket.recv(&mut report) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Err(error) => panic!("the witness hears nothing: {error}"),
        };
        let event = parse(&String::from_utf8_lossy(&report[..length]));
        match &event {
            Event::Entered(process, tickets) => {
                self.inside.insert(*process, tickets.clone());
                self.most = self.most.max(self.inside());
            }
            Event::Left(process) => self.forget(*process),
            Event::Note(_) => {}
        }
        Some(event)
    }

    /// This process is about to be killed, so it won't say that it leaves.
    pub fn forget(&mut self, process: u32) {
        self.inside.remove(&process);
    }

    /// Listens for as long as that.
    pub fn listen(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.next(left);
        }
    }

    /// How many tickets are inside now.
    pub fn inside(&self) -> usize {
        self.inside.values().map(Vec::len).sum()
    }

    /// Who is inside now, with which tickets.
    pub fn processes(&self) -> &BTreeMap<u32, Vec<i64>> {
        &self.inside
    }

    /// The most that were inside at once, since this was last asked.
    pub fn take_most(&mut self) -> usize {
        let inside = self.inside();
        std::mem::replace(&mut self.most, inside)
    }

    /// Tickets that are inside twice.
    pub fn doubles(&self) -> BTreeSet<i64> {
        let mut seen = BTreeSet::new();
        self.inside
            .values()
            .flatten()
            .filter(|&&ticket| !seen.insert(ticket))
            .copied()
            .collect()
    }
}

impl Default for Witness {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells a [`Witness`].
#[derive(Debug)]
pub struct Reporter {
    socket: UnixDatagram,
}

impl Reporter {
    /// To the witness with this path.
    pub fn new(witness: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(witness)?;
        Ok(Self { socket })
    }

    /// To be called when inside.
    pub fn entered(&self, process: u32, tickets: &[i64]) -> io::Result<()> {
        let tickets: Vec<String> = tickets.iter().map(i64::to_string).collect();
        self.send(&format!("entered {process} {}", tickets.join(",")))
    }

    /// To be called before letting go.
    pub fn left(&self, process: u32) -> io::Result<()> {
        self.send(&format!("left {process}"))
    }

    /// Puts a note among the reports.
    pub fn note(&self, text: &str) -> io::Result<()> {
        self.send(&format!("note {text}"))
    }

    fn send(&self, report: &str) -> io::Result<()> {
        self.socket.send(report.as_bytes()).map(drop)
    }
}

fn parse(report: &str) -> Event {
    let (word, rest) = report.split_once(' ').expect("a report has two words");
    let process = |text: &str| text.parse().expect("a process id");
    match word {
        "entered" => {
            let (id, tickets) = rest.split_once(' ').expect("tickets");
            let tickets = tickets.split(',').map(|id| id.parse().expect("a ticket"));
            Event::Entered(process(id), tickets.collect())
        }
        "left" => Event::Left(process(rest)),
        _ => Event::Note(rest.to_owned()),
    }
}
