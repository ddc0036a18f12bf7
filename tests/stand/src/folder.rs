use nix::unistd::{Gid, Uid, User};
use std::{
    fs::File,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// A temporary folder. Its janitor ends what runs in it and removes it, when it is dropped or when this process ends,
/// however it ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Who runs the programs in it, if that is not the user of this process.
    owner: Option<(Uid, Gid)>,
    janitor: Child,
}

/// How the janitor ends a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// SIGQUIT, and SIGKILL after ten seconds: for a program that has to clean up outside of its folder.
    Quit,
    /// SIGKILL.
    Kill,
}

/// Starts a program in the folder, unless the janitor has begun. The program's process id is on record before the
/// program runs, and the janitor closes the folder before it reads the record: so no program escapes.
const LAUNCH: &str = r#"echo $$ "$0" >pid && [ ! -e closed ] && exec "$@""#;

/// Waits, in a process of its own, for the end of the one that created the folder (the end of its standard input, which
/// nothing but the death of that process or the drop of the `Folder` brings about). A signal to the terminal's
/// foreground group doesn't reach the janitor.
const JANITOR: &str = r#"
trap '' INT TERM HUP QUIT
read -r _
: >"$1/closed"
# The number may be of another process by now. Without /proc, it is believed.
if read -r pid signal <"$1/pid" && case $(readlink "/proc/$pid/cwd" || echo "$1") in "$1"*) ;; *) false ;; esac; then
    kill -CONT "$pid"; kill "-$signal" "$pid"
    tries=0
    while kill -0 "$pid" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -KILL "$pid"
fi
# What a killed program leaves: the other processes of a server, or the servers of pg_upgrade.
find /proc/[0-9]*/cwd -lname "$1*" | while IFS=/ read -r _ _ pid _; do kill -KILL "$pid"; done
tries=0
while rm -rf "$1"; [ -e "$1" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
"#;

impl Folder {
    /// For files of this process.
    pub fn create() -> Self {
        Self::with_owner(None)
    }

    /// For programs that refuse to run as root: if this process does, this user runs them.
    pub(crate) fn create_for(user: &str) -> Self {
        let owner = Uid::effective().is_root().then(|| {
            let user = User::from_name(user)
                .expect("a look at the users")
                .unwrap_or_else(|| panic!("root starts servers as the user {user}: there is none"));
            (user.uid, user.gid)
        });
        Self::with_owner(owner)
    }

    fn with_owner(owner: Option<(Uid, Gid)>) -> Self {
        // Only its owner may enter. Sockets need a short path.
        let path = tempfile::Builder::new()
            .prefix("dbsemaphore-")
            .tempdir_in("/tmp")
            .expect("a temporary folder")
            .keep();
        if let Some((uid, gid)) = owner {
            chown(&path, Some(uid.as_raw()), Some(gid.as_raw())).expect("chown of the folder");
        }
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh");
        Self {
            path,
            owner,
            janitor,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A program that runs in the folder, as its owner. One at a time.
    pub(crate) fn command(&self, program: &Path, end: End) -> Command {
        let mut command = Command::new("sh");
        let signal = match end {
            End::Quit => "QUIT",
            End::Kill => "KILL",
        };
        command
            .args(["-c", LAUNCH, signal])
            .arg(program)
            // A group of its own, so that Ctrl-C leaves its end to the janitor.
            .process_group(0)
            .current_dir(&self.path)
            // A MySQL server that starts removes the temporary files of others.
            .env("TMPDIR", &self.path)
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.owner {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// Where what runs here writes to.
    pub(crate) fn log(&self) -> File {
        File::options()
            .create(true)
            .append(true)
            .open(self.path.join("log"))
            .expect("the log")
    }

    /// Lets the janitor begin.
    pub(crate) fn abandon(&mut self) {
        drop(self.janitor.stdin.take());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.abandon();
        let _ = self.janitor.wait();
    }
}

/// What the program printed. Panics if it failed.
pub(crate) fn output(command: &mut Command) -> Output {
    let ran = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        ran.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    ran
}
