//! Commands for the tool to run: this test binary again.

use nix::sys::signal::{Signal, raise};
use stand::{Reporter, Witness};
use std::{
    env,
    ffi::OsString,
    io::{Read, stdin},
    path::Path,
    thread,
    time::Duration,
};

const WITNESS: &str = "DBSEMAPHORE_TEST_WITNESS";
const WAY: &str = "DBSEMAPHORE_TEST_WAY";

/// The words of a command that tells the witness of its coming and going, works for a while, and ends in this way:
/// `exit N` or `signal N`. `deaf`, it ignores SIGTERM. With the environment that it needs.
pub(crate) struct Worker {
    pub(crate) words: Vec<OsString>,
    pub(crate) env: [(&'static str, OsString); 2],
}

impl Worker {
    pub(crate) fn new(witness: &Witness, way: &str, deaf: bool) -> Self {
        let me = env::current_exe().unwrap();
        let trap = if deaf { "trap '' TERM; " } else { "" };
        let script =
            format!("{trap}exec \"$0\" --exact command::child --nocapture >/dev/null 2>&1");
        Self {
            words: vec!["sh".into(), "-c".into(), script.into(), me.into()],
            env: [
                (WITNESS, witness.path().into()),
                (WAY, way.to_owned().into()),
            ],
        }
    }
}

/// Not a test when run as one.
#[test]
fn child() {
    let Ok(way) = env::var(WAY) else { return };
    let witness = Reporter::new(Path::new(&env::var(WITNESS).unwrap())).unwrap();
    let me = std::process::id();
    let tickets = env::var("DBSEMAPHORE_TICKETS").unwrap();
    let tickets: Vec<i64> = tickets.split(',').map(|id| id.parse().unwrap()).collect();
    assert!(
        env::var("DBSEMAPHORE_FENCING_TOKEN")
            .unwrap()
            .parse::<i64>()
            .unwrap()
            > 0
    );
    assert_eq!(env::var("DBSEMAPHORE_NAME").unwrap(), "x");
    witness.entered(me, &tickets).unwrap();
    // The work: for as long as somebody wants, or for a moment.
    stdin().read_to_end(&mut Vec::new()).unwrap();
    thread::sleep(Duration::from_millis(100));
    witness.left(me).unwrap();
    let (how, number) = way.split_once(' ').unwrap();
    let number: i32 = number.parse().unwrap();
    if how == "exit" {
        std::process::exit(number);
    }
    raise(Signal::try_from(number).unwrap()).unwrap();
}
