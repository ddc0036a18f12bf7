//! All text comes into the page through [`Text`], whoever it is from.

use super::{Board, Counted};
use diesel_dbsemaphore::{Holder, Session, Usage, Waiter};
use std::{
    fmt::{self, Display, Formatter, Write},
    time::Duration,
};

/// More boxes, or more of those who wait, are not drawn.
const AT_MOST: u32 = 40;
const WAITERS_AT_MOST: usize = 10;

pub(super) struct Page<'a>(pub(super) &'a [Board], pub(super) &'a [Counted]);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(boards, counted) = self;
        f.write_str(concat!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Semaphores</title>\n",
            "<link rel=\"icon\" href=\"data:,\">\n",
            "<noscript><meta http-equiv=\"refresh\" content=\"1\"></noscript>\n<style>\n",
            include_str!("style.css"),
            "</style>\n<script src=\"/live.js\" defer></script>\n",
            "<span id=\"late\"></span>\n<h1>Semaphores</h1>\n<main>\n"
        ))?;
        for board in *boards {
            let counted = counted.iter().find(|of| of.0 == board.usage.name);
            section(f, board, counted)?;
        }
        f.write_str("</main>\n</html>\n")
    }
}

fn section(f: &mut Formatter<'_>, board: &Board, counted: Option<&Counted>) -> fmt::Result {
    let Usage {
        name,
        size,
        in_use,
        waiting,
        ..
    } = &board.usage;
    let state = if *size == 0 { ", closed" } else { "" };
    writeln!(
        f,
        "<section>\n<div class=\"top\"><h2>{}</h2>\
         <span class=\"numbers\">{in_use} of {size} in use, {waiting} waiting{state}</span>",
        Text(name)
    )?;
    if let Some((_, most, in_all)) = counted {
        writeln!(
            f,
            "<span class=\"most\">inside, by this process's count: at most {most} at once, {in_all} in all</span>"
        )?;
    }
    f.write_str("</div>\n")?;
    boxes(f, &board.usage)?;
    holders(f, &board.holders)?;
    waiters(f, &board.waiters)?;
    f.write_str("</section>\n")
}

fn boxes(f: &mut Formatter<'_>, usage: &Usage) -> fmt::Result {
    f.write_str("<div class=\"tickets\">")?;
    for (class, number) in [
        ("held", usage.in_use),
        ("", usage.available()),
        ("waits", usage.waiting),
    ] {
        for _ in 0..number.min(AT_MOST) {
            write!(f, "<i class=\"{class}\"></i>")?;
        }
    }
    f.write_str("</div>\n")
}

fn holders(f: &mut Formatter<'_>, holders: &[Holder]) -> fmt::Result {
    if holders.is_empty() {
        return Ok(());
    }
    head(f, "Holders", ["ticket", "held for"])?;
    for holder in holders {
        let held_for = holder.held_for.map(Age);
        row(f, holder.ticket, &holder.session, None, held_for)?;
    }
    f.write_str("</table>\n")
}

fn waiters(f: &mut Formatter<'_>, waiters: &[Waiter]) -> fmt::Result {
    if waiters.is_empty() {
        return Ok(());
    }
    head(f, "In the queue", ["position", "waited"])?;
    for waiter in waiters.iter().take(WAITERS_AT_MOST) {
        let several = waiter.tickets.filter(|&tickets| tickets != 1);
        let waited = waiter.waited.map(Age);
        row(f, waiter.position, &waiter.session, several, waited)?;
    }
    f.write_str("</table>\n")?;
    match waiters.len().saturating_sub(WAITERS_AT_MOST) {
        0 => Ok(()),
        more => writeln!(f, "<div class=\"more\">and {more} more</div>"),
    }
}

fn head(f: &mut Formatter<'_>, caption: &str, [first, last]: [&str; 2]) -> fmt::Result {
    writeln!(
        f,
        "<table>\n<caption>{caption}</caption>\n<tr><th class=\"narrow\">{first}</th><th class=\"narrow\">pid</th>\
         <th>application</th><th>label</th><th class=\"client\">client</th><th class=\"narrow\">{last}</th></tr>"
    )
}

fn row(
    f: &mut Formatter<'_>,
    first: impl Display,
    session: &Session,
    tickets: Option<u32>,
    time: Option<Age>,
) -> fmt::Result {
    write!(f, "<tr><td>{first}</td>")?;
    write!(f, "<td>{}</td>", Known(session.pid))?;
    let application = session.application.as_deref().map(Text);
    write!(f, "<td>{}</td>", Known(application))?;
    write!(f, "<td>{}", Known(session.label.as_deref().map(Text)))?;
    if let Some(tickets) = tickets {
        write!(f, " ({tickets} tickets)")?;
    }
    let client = session.client_address.as_deref().map(Text);
    write!(f, "</td><td>{}</td>", Known(client))?;
    writeln!(f, "<td>{}</td></tr>", Known(time))
}

/// What may not be known.
struct Known<T>(Option<T>);

impl<T: Display> Display for Known<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_char('–'),
        }
    }
}

/// Text of others: names, labels, applications.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

struct Age(Duration);

impl Display for Age {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..60 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}
