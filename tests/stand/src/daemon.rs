use crate::folder::Folder;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    process::{Child, Command},
};

/// A program that runs in a folder of its own, until it is dropped or until this process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    folder: Folder,
}

impl Daemon {
    /// Starts this command, which [`Folder::command`] made.
    pub(crate) fn launch(folder: Folder, command: Command) -> Self {
        let child = spawn(&folder, command);
        Self { child, folder }
    }

    /// Starts this command after [`wait`](Self::wait).
    pub(crate) fn launch_again(&mut self, command: Command) {
        self.child = spawn(&self.folder, command);
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a signal to a process in a folder");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) {
        self.child.wait().expect("the end of a process");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a look at a process")
            .is_some()
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).expect("the log");
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.folder.abandon();
        // Until it is reaped, the janitor goes on seeing the process.
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Folder, mut command: Command) -> Child {
    command
        .stdout(folder.log())
        .stderr(folder.log())
        .spawn()
        .expect("sh")
}
