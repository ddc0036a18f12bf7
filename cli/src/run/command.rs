//! Starts the command.

use crate::{options::Run, output, signals};
use diesel_dbsemaphore::Ticket;
use nix::{
    libc::ENOEXEC,
    sys::signal::SigSet,
    unistd::{AccessFlags, access},
};
use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command},
};

/// Starts the command with the ticket in its environment and with the signal mask `blocked`.
pub(super) fn start(options: &Run, ticket: &Ticket, blocked: &SigSet) -> io::Result<Child> {
    let ids: Vec<String> = ticket.ids().iter().map(i64::to_string).collect();
    let token = ticket.fencing_token().to_string();
    let spawn = |mut command: Command| {
        command
            .env("DBSEMAPHORE_NAME", ticket.semaphore())
            .env("DBSEMAPHORE_TICKETS", ids.join(","))
            .env("DBSEMAPHORE_FENCING_TOKEN", &token);
        if options.process_group {
            command.process_group(0);
        }
        command.spawn()
    };
    let ours = signals::swap_mask(blocked);
    let child = match spawn(first_step(options)) {
        Err(error) if is_script(&error) => spawn(script(&options.command)),
        started => started,
    };
    signals::swap_mask(&ours);
    child
}

fn plain(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Returns whether the kernel does not know the format of an executable file: a script without `#!`.
fn is_script(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ENOEXEC)
}

/// Runs a script without `#!` by /bin/sh, as `execvp` does.
fn script(words: &[OsString]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg(find(&words[0])).args(&words[1..]);
    command
}

/// Returns the file of a command, as the kernel finds it.
fn find(word: &OsStr) -> PathBuf {
    let path = Path::new(word);
    let found = if word.as_bytes().contains(&b'/') {
        path.to_owned()
    } else {
        let folders = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
        env::split_paths(&folders)
            .map(|folder| folder.join(path))
            .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
            .unwrap_or_else(|| path.to_owned())
    };
    // /bin/sh would treat it as an option.
    if found.as_os_str().as_bytes().starts_with(b"-") {
        return Path::new(".").join(found);
    }
    found
}

/// Reports why the command can't be run. Returns the exit code for that.
pub(super) fn cannot_run(words: &[OsString], error: &io::Error) -> u8 {
    output::say(format_args!("{:?} can't be run: {error}", words[0]));
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

#[cfg(not(target_os = "linux"))]
fn first_step(options: &Run) -> Command {
    plain(&options.command)
}

#[cfg(target_os = "linux")]
use with_parent::first_step;

#[cfg(target_os = "linux")]
pub(crate) use with_parent::become_command;

/// On Linux, a process can request a signal for itself at the end of its parent. So the child first runs this tool
/// again, which makes the request, and then becomes the command. The request remains in force.
#[cfg(target_os = "linux")]
mod with_parent {
    use super::{Run, cannot_run, is_script, plain, script};
    use crate::options::Become;
    use nix::sys::{prctl, signal::Signal};
    use std::{
        io,
        os::unix::process::{CommandExt, parent_id},
        process::{self, Command},
    };

    pub(crate) fn first_step(options: &Run) -> Command {
        if !options.kill_with_parent {
            return plain(&options.command);
        }
        // The file of this process, even if it was replaced or removed meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("dbsemaphore")
            .args(["become", &process::id().to_string(), "--"])
            .args(&options.command);
        command
    }

    /// Returns only if it fails.
    pub(crate) fn become_command(options: &Become) -> u8 {
        let asked = prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
        let error = match asked {
            // The parent was killed before the request.
            Ok(()) if parent_id() != options.parent => return 128 + 9,
            Ok(()) => match plain(&options.command).exec() {
                error if is_script(&error) => script(&options.command).exec(),
                error => error,
            },
            Err(error) => error,
        };
        cannot_run(&options.command, &error)
    }
}
