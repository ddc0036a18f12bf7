//! Runs the fleet, disturbs it, and judges.

use crate::{
    Fallible,
    database::{Database, connect},
    fleet::{all_ended, start_workers},
    jobs,
    judge::{Phase, Victim, judge},
    options::{Options, Task},
    screen::Screen,
};
use diesel_dbsemaphore as sem;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use stand::{Event, Reporter, Witness};
use std::{
    process::Child,
    thread,
    time::{Duration, Instant},
};

struct Show<'a> {
    database: &'a Database,
    witness: Witness,
    screen: Screen,
    phases: Vec<Phase>,
    victim: Option<Victim>,
    jobs: usize,
    done: usize,
    doubles: usize,
}

pub(crate) fn run(options: &Options) -> Fallible<bool> {
    let files = jobs::files(&options.folders)?;
    if files.is_empty() {
        return Err("no files there, so there is nothing to do".into());
    }
    let database = Database::create(&options.backend)?;
    let mut conn = connect(&database.url)?;
    sem::run_migrations(&mut conn)?;
    sem::make(&mut conn, "demo", options.tickets)?;
    jobs::fill(&mut conn, &files)?;

    let witness = Witness::new();
    let pause = options.time * options.tickets / u32::try_from(files.len())?;
    let mut workers = start_workers(
        options.workers,
        &Task {
            url: database.url.clone(),
            witness: witness.path(),
            pause: pause.min(Duration::from_secs(2)),
        },
    )?;
    let mut screen = Screen::new();
    screen.say(&format!(
        "{} jobs, {} worker processes, at most {} at a time",
        files.len(),
        options.workers,
        options.tickets
    ));
    let mut show = Show {
        database: &database,
        witness,
        screen,
        phases: vec![Phase {
            size: options.tickets,
            most: 0,
        }],
        victim: None,
        jobs: files.len(),
        done: 0,
        doubles: 0,
    };
    show.play(&mut workers)?;
    show.screen.wipe();
    let Show {
        phases,
        victim,
        jobs,
        doubles,
        ..
    } = show;
    judge(&mut conn, jobs, &phases, victim.as_ref(), doubles)
}

impl Show<'_> {
    /// Until all workers have ended. What happens on the way depends on how much is done.
    fn play(&mut self, workers: &mut [Child]) -> Fallible<()> {
        let database = self.database;
        let first = self.phases[0].size;
        let resizes = [(0.4, first + 2), (0.7, (first - 1).max(1))];
        let mut begun = 0;
        thread::scope(|scope| {
            loop {
                let event = self.witness.next(Duration::from_millis(100));
                let resized = self.phases.len() - 1;
                if event.is_none() && all_ended(workers)? && resized == resizes.len() {
                    self.end_phase();
                    return Ok(());
                }
                self.hear(event)?;
                let share = self.done as f64 / self.jobs as f64;
                if let Some(&(at, size)) = resizes.get(begun)
                    && begun == resized
                    && share >= at
                {
                    begun += 1;
                    self.screen.say(&format!("resizing to {size} ..."));
                    let witness = Reporter::new(&self.witness.path())?;
                    // Shrinking waits for holders, so it is somebody else's job.
                    scope.spawn(move || resize(database, size, &witness));
                }
            }
        })
    }

    fn hear(&mut self, event: Option<Event>) -> Fallible<()> {
        match event {
            Some(Event::Entered(worker, tickets)) => {
                self.doubles += self.witness.doubles().len();
                self.is_back(&tickets);
                if self.victim.is_none() && (self.done * 5 >= self.jobs || self.jobs < 5) {
                    self.kill(worker, tickets[0])?;
                }
            }
            Some(Event::Note(note)) => {
                if let Some(size) = note.strip_prefix("size ") {
                    self.end_phase();
                    let size = size.parse()?;
                    self.screen.say(&format!("... at most {size} at a time"));
                    self.phases.push(Phase { size, most: 0 });
                } else if note == "done" {
                    self.done += 1;
                } else if let Some((worker, job)) = note
                    .strip_prefix("job ")
                    .and_then(|note| note.split_once(' '))
                {
                    self.screen.works_on(worker.parse()?, job);
                }
            }
            Some(Event::Left(_)) | None => {}
        }
        let size = self.phases.last().map_or(0, |phase| phase.size);
        self.screen
            .draw(size, self.done, self.jobs, self.witness.processes());
        Ok(())
    }

    /// Kills the worker while it holds that ticket, unless it has left before it could be stopped.
    fn kill(&mut self, worker: u32, ticket: i64) -> Fallible<()> {
        let pid = Pid::from_raw(worker.try_into()?);
        self.victim = Some(Victim {
            ticket,
            died: None,
            back_after: None,
        });
        kill(pid, Signal::SIGSTOP)?;
        waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
        // What it has said before is in the queue, and by now nothing more is added to that.
        while let Some(event) = self.witness.next(Duration::from_millis(1)) {
            self.hear(Some(event))?;
        }
        if self.witness.processes().get(&worker) != Some(&vec![ticket]) {
            self.victim = None;
            kill(pid, Signal::SIGCONT)?;
            return Ok(());
        }
        self.witness.forget(worker);
        kill(pid, Signal::SIGKILL)?;
        self.victim = Some(Victim {
            ticket,
            died: Some(Instant::now()),
            back_after: None,
        });
        self.screen.say(&format!(
            "kill -9 of worker {worker}, which holds ticket {ticket} ..."
        ));
        Ok(())
    }

    fn is_back(&mut self, tickets: &[i64]) {
        let Some(victim) = &mut self.victim else {
            return;
        };
        if let Some(died) = victim.died
            && victim.back_after.is_none()
            && tickets.contains(&victim.ticket)
        {
            let after = died.elapsed();
            victim.back_after = Some(after);
            self.screen.say(&format!(
                "... ticket {} in use again after {:.1} ms",
                victim.ticket,
                after.as_secs_f64() * 1000.0
            ));
        }
    }

    fn end_phase(&mut self) {
        let most = self.witness.take_most();
        if let Some(phase) = self.phases.last_mut() {
            phase.most = most;
        }
    }
}

/// The new limit holds from before the semaphore grows, and from after it has shrunk.
fn resize(database: &Database, size: u32, witness: &Reporter) {
    let resize = || -> Fallible<()> {
        let mut conn = connect(&database.url)?;
        let note = format!("size {size}");
        if sem::list(&mut conn)?["demo"] < size {
            witness.note(&note)?;
            sem::make(&mut conn, "demo", size)?;
        } else {
            sem::make(&mut conn, "demo", size)?;
            witness.note(&note)?;
        }
        Ok(())
    };
    if let Err(error) = resize() {
        eprintln!("resizing failed: {error}");
        // Not a number: ends the show.
        let _ = witness.note("size unknown");
    }
}
