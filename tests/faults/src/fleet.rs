//! The processes, and what was done to them.

mod name;

pub(crate) use name::{Member, Name, Pause};

use crate::{
    arena::Place,
    log::{Time, now},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::Cable;
use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

struct Process {
    name: Name,
    place: Place,
    child: Child,
    cable: Option<Cable>,
    stopped: bool,
}

pub(crate) struct Fleet {
    backend: &'static str,
    folder: PathBuf,
    seed: u64,
    processes: Mutex<Vec<Process>>,
    deaths: Mutex<Vec<(Name, Time)>>,
    pauses: Mutex<Vec<Pause>>,
}

impl Fleet {
    pub(crate) fn start(backend: &'static str, folder: &Path, seed: u64, places: &[Place]) -> Self {
        let fleet = Self {
            backend,
            folder: folder.to_owned(),
            seed,
            processes: Mutex::default(),
            deaths: Mutex::default(),
            pauses: Mutex::default(),
        };
        for (worker, &place) in (0..).zip(places) {
            let process = fleet.launch(Name { worker, life: 0 }, place);
            fleet.processes.lock().unwrap().push(process);
        }
        fleet
    }

    fn launch(&self, name: Name, place: Place) -> Process {
        let me = env::current_exe().unwrap();
        let mut command = match place {
            Place::Afar(_) => {
                let mut command = Cable::command();
                command.arg(me);
                command
            }
            _ => Command::new(me),
        };
        let place_word = match place {
            Place::Here => "here".to_owned(),
            Place::BehindPooler => "pooler".to_owned(),
            Place::Afar(number) => number.to_string(),
        };
        let seed = self.seed ^ (u64::from(name.worker) << 40) ^ (u64::from(name.life) << 16);
        let mut child = command
            .args(["worker", self.backend])
            .arg(&self.folder)
            .args([format!("{}-{}", name.worker, name.life), place_word])
            .arg(seed.to_string())
            .env("PGAPPNAME", format!("w{}.{}", name.worker, name.life))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cable = match place {
            Place::Afar(number) => {
                let cable = Cable::lay(number, child.id());
                child
                    .stdin
                    .as_mut()
                    .unwrap()
                    .write_all(b"the cable is in\n")
                    .unwrap();
                Some(cable)
            }
            _ => None,
        };
        Process {
            name,
            place,
            child,
            cable,
            stopped: false,
        }
    }

    /// Restarts processes that have died. Returns those that still run.
    pub(crate) fn look_after(&self, restart: bool) -> Vec<Name> {
        let mut processes = self.processes.lock().unwrap();
        for process in processes.iter_mut() {
            if process.child.try_wait().unwrap().is_some() && !self.is_noted(process.name) {
                self.note_death(process.name);
                if restart {
                    let next = Name {
                        life: process.name.life + 1,
                        ..process.name
                    };
                    // Its number can be had again.
                    drop(process.cable.take());
                    *process = self.launch(next, process.place);
                }
            }
        }
        processes
            .iter()
            .map(|process| process.name)
            .filter(|name| !self.is_noted(*name))
            .collect()
    }

    fn is_noted(&self, name: Name) -> bool {
        self.deaths.lock().unwrap().iter().any(|d| d.0 == name)
    }

    fn note_death(&self, name: Name) {
        self.deaths.lock().unwrap().push((name, now()));
    }

    fn with<T>(&self, name: Name, act: impl FnOnce(&mut Process) -> T) -> Option<T> {
        let mut processes = self.processes.lock().unwrap();
        let process = processes.iter_mut().find(|p| p.name == name)?;
        // It may just have died.
        (!self.is_noted(name)).then(|| act(process))
    }

    fn signal(process: &Process, signal: Signal) -> bool {
        kill(
            Pid::from_raw(i32::try_from(process.child.id()).unwrap()),
            signal,
        )
        .is_ok()
    }

    /// Not one that is stopped, so that those have their full time.
    pub(crate) fn kill(&self, name: Name) -> bool {
        self.with(name, |process| {
            !process.stopped && Self::signal(process, Signal::SIGKILL)
        })
        .unwrap_or(false)
    }

    /// Until `resume`.
    pub(crate) fn stop(&self, name: Name) -> bool {
        self.with(name, |process| {
            process.stopped = Self::signal(process, Signal::SIGSTOP);
            process.stopped
        })
        .unwrap_or(false)
    }

    pub(crate) fn resume(&self, name: Name, from: Time) {
        self.with(name, |process| {
            Self::signal(process, Signal::SIGCONT);
            process.stopped = false;
        });
        self.note_pause(name, from);
    }

    pub(crate) fn cut(&self, name: Name) -> bool {
        self.with(name, |process| {
            process.stopped = process.cable.as_ref().and_then(Cable::cut).is_some();
            process.stopped
        })
        .unwrap_or(false)
    }

    pub(crate) fn mend(&self, name: Name) {
        self.with(name, |process| {
            process.stopped = false;
            process.cable.as_ref().map(Cable::mend)
        });
    }

    fn note_pause(&self, name: Name, from: Time) {
        let to = now();
        self.pauses.lock().unwrap().push(Pause { name, from, to });
    }

    /// Those that are there now, and where.
    pub(crate) fn present(&self) -> Vec<Member> {
        let processes = self.processes.lock().unwrap();
        let member = |process: &Process| Member {
            name: process.name,
            place: process.place,
            process: process.child.id(),
        };
        processes.iter().map(member).collect()
    }

    pub(crate) fn deaths(&self) -> Vec<(Name, Time)> {
        self.deaths.lock().unwrap().clone()
    }

    pub(crate) fn pauses(&self) -> Vec<Pause> {
        self.pauses.lock().unwrap().clone()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for process in self.processes.lock().unwrap().iter_mut() {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}
