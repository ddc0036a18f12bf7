//! `dbsemaphore top`: shows all semaphores, live.

mod screen;

use crate::{
    database::Database,
    fault::Fault,
    output, signals,
    snapshot::{Snapshot, Source},
};
use nix::libc::{SIGHUP, SIGTERM};
use ratatui::{
    backend::CrosstermBackend,
    crossterm::{
        event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use screen::Screen;
use std::{
    io, mem,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

const INTERVAL: Duration = Duration::from_secs(1);

enum Event {
    Seen(Result<Snapshot, Fault>),
    Key(KeyCode, KeyModifiers),
    Redraw,
    Quit,
}

pub(crate) fn watch(database: Database) -> Result<(), Fault> {
    // Connects before the terminal is set up, so that an error is a line on it.
    let unknown = database.unknown_columns();
    let mut source = Source::new(database);
    let seen = source.query(|_| false)?;
    let (tell, events) = mpsc::channel();
    let (select, selected) = mpsc::channel();
    let looking = tell.clone();
    thread::Builder::new().spawn(move || keep_looking(source, &selected, &looking))?;
    let quitting = tell.clone();
    signals::listen([SIGTERM, SIGHUP], move |_| {
        let _ = quitting.send(Event::Quit);
        // A terminal that accepts no output blocks the thread that draws.
        thread::sleep(INTERVAL);
        let _ = disable_raw_mode();
        signal_hook::low_level::exit(0);
    })?;

    let (taken, mut terminal) = Taken::take()?;
    let typing = tell.clone();
    let shown = thread::Builder::new()
        .spawn(move || listen_to_keys(&typing))
        .and_then(|_| show(&mut terminal, Screen::new(seen, unknown), &events, &select));
    let _ = terminal.show_cursor();
    // Its drop prints an error, and panics if it can't print.
    mem::forget(terminal);
    drop(taken);
    Ok(shown?)
}

type Terminal = ratatui::Terminal<CrosstermBackend<output::Terminal>>;

/// Sets up the terminal for `top`, and restores it when dropped, also by a panic.
struct Taken;

impl Taken {
    fn take() -> io::Result<(Self, Terminal)> {
        enable_raw_mode().map_err(|error| {
            let message = format!("top needs a terminal ({error}): use list, show or serve");
            io::Error::new(error.kind(), message)
        })?;
        let taken = Self;
        execute!(output::Terminal, EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(output::Terminal))?;
        Ok((taken, terminal))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = disable_raw_mode();
        let _ = execute!(output::Terminal, LeaveAlternateScreen);
    }
}

fn show(
    terminal: &mut Terminal,
    mut screen: Screen,
    events: &Receiver<Event>,
    select: &Sender<Option<String>>,
) -> io::Result<()> {
    // When this returns, the terminal is not used any more.
    let _ = select.send(screen.selected());
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        match events.recv() {
            Ok(Event::Seen(seen)) => screen.update(seen),
            Ok(Event::Key(KeyCode::Char('q') | KeyCode::Esc, _)) => return Ok(()),
            Ok(Event::Key(KeyCode::Char('c'), KeyModifiers::CONTROL)) => return Ok(()),
            Ok(Event::Key(key, _)) => {
                let before = screen.selected();
                match key {
                    KeyCode::Up | KeyCode::Char('k') => screen.go(-1),
                    KeyCode::Down | KeyCode::Char('j') => screen.go(1),
                    _ => {}
                }
                if screen.selected() != before {
                    let _ = select.send(screen.selected());
                }
            }
            Ok(Event::Redraw) => {}
            Ok(Event::Quit) | Err(_) => return Ok(()),
        }
    }
}

fn listen_to_keys(tell: &Sender<Event>) {
    loop {
        let event = match event::read() {
            Ok(Input::Key(key)) if key.kind == KeyEventKind::Press => {
                Event::Key(key.code, key.modifiers)
            }
            Ok(Input::Resize(..)) => Event::Redraw,
            Ok(_) => continue,
            // The terminal was closed.
            Err(_) => Event::Quit,
        };
        let quits = matches!(event, Event::Quit);
        if tell.send(event).is_err() || quits {
            return;
        }
    }
}

/// Queries in a thread of its own, so that keys work while the database does not answer.
fn keep_looking(mut source: Source, selected: &Receiver<Option<String>>, tell: &Sender<Event>) {
    let mut name: Option<String> = None;
    loop {
        match selected.recv_timeout(INTERVAL) {
            Ok(newly) => name = newly,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let seen = source.query(|usage| Some(&usage.name) == name.as_ref());
        if tell.send(Event::Seen(seen)).is_err() {
            return;
        }
    }
}
