//! Draws the screen of `top`.

use crate::{fault::Fault, snapshot::Snapshot, view};
use diesel_dbsemaphore::Usage;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::Line,
    widgets::{Block, Borders, Row, Table, TableState},
};

const BAR: usize = 20;

pub(super) struct Screen {
    seen: Snapshot,
    /// The error of the last query. The screen then keeps the earlier results.
    fault: Option<Fault>,
    table: TableState,
    /// The columns of holders and waiters that the backend does not know.
    unknown: &'static [&'static str],
}

impl Screen {
    pub(super) fn new(seen: Snapshot, unknown: &'static [&'static str]) -> Self {
        let busiest = (0..seen.usages.len())
            .max_by_key(|&row| (seen.usages[row].waiting, seen.usages[row].in_use));
        Self {
            seen,
            fault: None,
            table: TableState::new().with_selected(busiest),
            unknown,
        }
    }

    pub(super) fn selected(&self) -> Option<String> {
        let usage = self.seen.usages.get(self.table.selected()?)?;
        Some(usage.name.clone())
    }

    /// Moves up or down the list, and stops at its ends.
    pub(super) fn go(&mut self, rows: isize) {
        let last = self.seen.usages.len().saturating_sub(1);
        let row = self.table.selected().unwrap_or(0);
        self.table
            .select(Some(row.saturating_add_signed(rows).min(last)));
    }

    pub(super) fn update(&mut self, seen: Result<Snapshot, Fault>) {
        match seen {
            Ok(seen) => {
                let name = self.selected();
                let row = |name| seen.usages.iter().position(|usage| usage.name == name);
                let row = name.and_then(row);
                self.table
                    .select(row.or((!seen.usages.is_empty()).then_some(0)));
                self.seen = seen;
                self.fault = None;
            }
            Err(fault) => self.fault = Some(fault),
        }
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = u16::try_from(self.seen.usages.len()).unwrap_or(u16::MAX);
        // Half of the screen is for holders and waiters, however many semaphores there are.
        let rows = rows.saturating_add(2).min(frame.area().height / 2);
        let [top, middle, bottom, last] = Layout::vertical([
            Constraint::Length(rows),
            Constraint::Fill(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_semaphores(frame, top);
        let selected = self.selected();
        let name = selected.unwrap_or_default();
        // Holders and waiters of another semaphore are unknown until the next query.
        if let Some((holders, waiters)) = self.seen.people.get(&name) {
            let title = format!(" {name}: {} held ", holders.len());
            draw_people(
                frame,
                middle,
                title,
                view::columns(
                    view::HOLDERS,
                    holders.iter().map(view::holder_row),
                    self.unknown,
                ),
            );
            let title = format!(" {name}: {} waiting ", waiters.len());
            draw_people(
                frame,
                bottom,
                title,
                view::columns(
                    view::WAITERS,
                    waiters.iter().map(view::waiter_row),
                    self.unknown,
                ),
            );
        }
        let line = match &self.fault {
            Some(fault) => Line::from(fault.to_string()).fg(Color::Red),
            None => Line::from(" q quit   ↑ ↓ another semaphore   refreshed each second").dim(),
        };
        frame.render_widget(line, last);
    }

    fn draw_semaphores(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let names = self
            .seen
            .usages
            .iter()
            .map(|usage| usage.name.chars().count());
        let width = u16::try_from(names.max().unwrap_or(0).max(4)).unwrap_or(u16::MAX);
        let rows = self.seen.usages.iter().map(|usage| {
            let [name, tickets, in_use, waiting] = view::usage_row(usage);
            Row::new([
                name,
                right(&tickets),
                right(&in_use),
                right(&waiting),
                bar(usage),
            ])
        });
        let [name, tickets, in_use, waiting] = view::USAGE;
        let head = [
            name.to_owned(),
            right(tickets),
            right(in_use),
            right(waiting),
            String::new(),
        ];
        let widths = [
            Constraint::Max(width),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(8),
            Constraint::Length(BAR as u16),
        ];
        let table = Table::new(rows, widths)
            .header(Row::new(head).style(head_style()))
            .column_spacing(2)
            .block(Block::new().borders(Borders::TOP).title(" semaphores "))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut self.table);
    }
}

fn draw_people(
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    (head, rows): (Vec<&'static str>, Vec<Vec<String>>),
) {
    // A column is as wide as its widest cell.
    let widths = (0..head.len()).map(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        let width = cells.chain([head[column].len()]).max().unwrap_or(0);
        Constraint::Max(u16::try_from(width).unwrap_or(u16::MAX))
    });
    let widths: Vec<Constraint> = widths.collect();
    let table = Table::new(rows.into_iter().map(Row::new), widths)
        .header(Row::new(head).style(head_style()))
        .column_spacing(2)
        .block(Block::new().borders(Borders::TOP).title(title));
    frame.render_widget(table, area);
}

fn head_style() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn right(text: &str) -> String {
    format!("{text:>8}")
}

/// Draws how much of a semaphore is in use.
fn bar(usage: &Usage) -> String {
    let share = usage.in_use as usize * BAR;
    // One ticket in use is visible, however many tickets there are.
    let full = share.div_ceil(usage.size.max(1) as usize).min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

#[cfg(test)]
mod tests;
