use super::{Spread, Stage};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf, thread};

/// A line of a table.
#[derive(Default)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    pub(crate) fn new(what: &str) -> Self {
        Self::default().text("what", what)
    }

    pub(crate) fn text(mut self, column: &str, text: impl Into<String>) -> Self {
        self.0.insert(column.to_owned(), text.into().into());
        self
    }

    pub(crate) fn number(mut self, column: &str, number: impl Into<f64>) -> Self {
        self.0.insert(column.to_owned(), number.into().into());
        self
    }

    pub(crate) fn spread(mut self, column: &str, spread: Spread) -> Self {
        self.0.insert(column.to_owned(), spread.json());
        self
    }
}

/// A table.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// The file of figures. What a run doesn't measure stays there from the one before.
pub(crate) struct Report {
    path: PathBuf,
    sections: Map<String, Value>,
}

impl Report {
    pub(crate) fn open(path: PathBuf) -> Self {
        let sections = fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        Self { path, sections }
    }

    /// Prints it and writes it down, at once: a long run that is stopped keeps what it has.
    pub(crate) fn add(&mut self, stage: &Stage, section: Section) {
        let rows: Vec<Map<String, Value>> = section.rows.into_iter().map(|row| row.0).collect();
        println!("\n{}\n", section.title);
        print!("{}", table(&rows));
        let cores = thread::available_parallelism().map_or(0, usize::from);
        self.sections.insert(
            section.name.to_owned(),
            json!({
                "title": section.title,
                Stage::SERVER: stage.version(),
                "cores": cores,
                "rows": rows,
            }),
        );
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).unwrap();
        }
        let text = serde_json::to_string_pretty(&self.sections).unwrap();
        fs::write(&self.path, text + "\n").unwrap();
    }

    /// The figure of the first row in which these columns have these values.
    pub(crate) fn figure(&self, section: &str, row: &[(&str, &str)], column: &str) -> Option<f64> {
        let rows = self.sections.get(section)?.get("rows")?.as_array()?;
        let is_it = |candidate: &&Value| {
            row.iter()
                .all(|(column, value)| candidate.get(column).map(short).as_deref() == Some(*value))
        };
        let value = rows.iter().find(is_it)?.get(column)?;
        value.get("median").unwrap_or(value).as_f64()
    }
}

fn table(rows: &[Map<String, Value>]) -> String {
    let columns: Vec<&String> = rows
        .iter()
        .flat_map(Map::keys)
        .fold(vec![], |mut seen, key| {
            if !seen.contains(&key) {
                seen.push(key);
            }
            seen
        });
    let headers = columns.iter().map(|column| column.replace('_', " "));
    let mut lines: Vec<Vec<String>> = vec![headers.collect()];
    lines.extend(rows.iter().map(|row| {
        let cells = columns.iter().map(|&column| row.get(column));
        cells
            .map(|cell| cell.map_or(String::new(), short))
            .collect()
    }));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).filter_map(width).collect();
    let is_text = |column: usize| {
        rows.iter()
            .any(|row| row.get(columns[column]).is_some_and(Value::is_string))
    };
    let mut text = String::new();
    for line in &lines {
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            text += &if is_text(column) {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// As people read it: three digits are enough.
fn short(value: &Value) -> String {
    let number = |number: f64| match number.abs() {
        size if size.fract() == 0.0 || size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        size if size >= 0.0005 => format!("{number:.3}"),
        _ => format!("{number:.1e}"),
    };
    match value {
        Value::Number(value) => number(value.as_f64().unwrap_or_default()),
        Value::Object(spread) => {
            let part = |name: &str| {
                spread
                    .get(name)
                    .and_then(Value::as_f64)
                    .map_or(String::new(), number)
            };
            format!("{} ({}..{})", part("median"), part("min"), part("max"))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
