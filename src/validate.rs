//! Checks of names, labels and numbers, without the database.

use crate::{Error, MAX_LABEL_CHARS, MAX_NAME_CHARS, MAX_TICKETS, Result};

pub(crate) fn check_name(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.contains('\0') {
        "it contains a NUL character"
    } else if name.chars().count() > MAX_NAME_CHARS {
        "it is longer than 255 characters"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName {
        name: name.to_owned(),
        reason,
    })
}

/// A label is part of `application_name`, which PostgreSQL keeps in ASCII and cuts at 63 characters.
pub(crate) fn check_label(label: &str) -> Result<()> {
    let reason = if label.is_empty() {
        "it is empty"
    } else if label.len() > MAX_LABEL_CHARS {
        "it is longer than 40 characters"
    } else if !label
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
    {
        "it contains something else than printable ASCII characters"
    } else {
        return Ok(());
    };
    Err(Error::InvalidLabel {
        label: label.to_owned(),
        reason,
    })
}

/// Returns the number as an integer of SQL.
pub(crate) fn check_tickets(name: &str, tickets: u32) -> Result<i32> {
    match i32::try_from(tickets) {
        Ok(count) if tickets <= MAX_TICKETS => Ok(count),
        _ => Err(Error::InvalidTickets {
            name: name.to_owned(),
            tickets,
            limit: MAX_TICKETS,
        }),
    }
}
