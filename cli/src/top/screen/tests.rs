//! What the screen shows.

use super::*;
use ratatui::{Terminal, backend::TestBackend};

fn seen(names: &[&str], selected: &str) -> Snapshot {
    let usage = |name: &&str| {
        let mut usage = Usage::default();
        usage.name = (*name).to_owned();
        (usage.size, usage.in_use) = (4, 1);
        usage
    };
    Snapshot {
        usages: names.iter().map(usage).collect(),
        people: [(selected.to_owned(), Default::default())].into(),
        ..Snapshot::default()
    }
}

fn drawn(screen: &mut Screen) -> String {
    let mut terminal = Terminal::new(TestBackend::new(60, 12)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn the_selected_one_stays_selected() {
    let mut screen = Screen::new(seen(&["a", "b", "c"], "c"), &[]);
    screen.go(-5);
    assert_eq!(screen.selected().as_deref(), Some("a"));
    screen.go(1);
    screen.update(Ok(seen(&["0", "a", "b"], "b")));
    assert_eq!(screen.selected().as_deref(), Some("b"));
    assert!(drawn(&mut screen).contains("b: 0 held"));
    screen.update(Ok(seen(&["a"], "a")));
    assert_eq!(screen.selected().as_deref(), Some("a"));
    screen.update(Ok(seen(&[], "")));
    assert_eq!(screen.selected(), None);
    drawn(&mut screen);
}

#[test]
fn a_fault_is_shown_until_the_next_look() {
    let mut screen = Screen::new(seen(&["a"], "a"), &[]);
    screen.update(Err(Fault::new("no connection")));
    let text = drawn(&mut screen);
    assert!(
        text.contains("no connection") && text.contains("█████░"),
        "{text}"
    );
    screen.update(Ok(seen(&["a"], "a")));
    assert!(!drawn(&mut screen).contains("no connection"));
}

#[test]
fn many_semaphores_leave_room_for_their_holders() {
    let names: Vec<String> = (0..100).map(|number| format!("s{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut screen = Screen::new(seen(&names, "s99"), &[]);
    screen.go(99);
    let text = drawn(&mut screen);
    assert!(
        text.contains("s99: 0 held") && text.contains("s99: 0 waiting"),
        "{text}"
    );
}
