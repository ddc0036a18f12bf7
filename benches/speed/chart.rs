//! Draws the file of figures: `benches/speed.svg`, which README.md and docs/benchmarks.md show. It measures nothing, and leaves out what the
//! file doesn't have. Bars are medians; their colours suit light and dark pages.

use crate::{kit::Report, options::Options};
use std::{fmt::Write, fs};

const WIDTH: f64 = 860.0;
const BARS_FROM: f64 = 290.0;
const LONGEST: f64 = 480.0;
const LINE: f64 = 24.0;

const STYLE: &str = "
text { font: 13px system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.note, .value { fill: #59636e; }
.value { font-variant-numeric: tabular-nums; }
.ours { fill: #1f6feb; } .floor { fill: #8c959f; } .other { fill: #d8a657; }
text.ours { fill: #0a52c2; font-weight: 600; }
.axis { stroke: #8c959f; stroke-width: 1; }
.one { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 3 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note, .value { fill: #9198a1; }
  .ours { fill: #4493f8; } .floor { fill: #6e7681; } .other { fill: #b08a45; }
  text.ours { fill: #79b8ff; }
}
";

/// Whose bar it is.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Floor,
    Other,
}

use Side::{Floor, Other, Ours};

struct Panel {
    title: &'static str,
    note: &'static str,
    section: &'static str,
    column: &'static str,
    /// What all rows of it have in common.
    of: &'static [(&'static str, &'static str)],
    bars: &'static [(Side, &'static str, &'static str)],
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "Acquire and release, as often as 8 clients can",
        note: "Rate, as a share of empty transactions (BEGIN; SELECT 1; ROLLBACK): longer is better",
        section: "peers",
        column: "of_round_trips",
        of: &[("clients", "8")],
        bars: &[
            (Floor, "barest row lock", "row lock"),
            (Floor, "barest row lock, committed", "row lock, committed"),
            (Ours, "guard", "guard"),
            (Ours, "in a transaction", "own transaction, rolled back"),
            (
                Ours,
                "in a transaction, committed",
                "own transaction, committed",
            ),
            (
                Other,
                "SKIP LOCKED by hand",
                "SKIP LOCKED by hand, rolled back",
            ),
            (
                Other,
                "SKIP LOCKED by hand, committed",
                "SKIP LOCKED by hand, committed",
            ),
            (
                Other,
                "advisory locks by hand",
                "pg_try_advisory_lock over n keys",
            ),
            (Other, "django-dbsemaphore", "django-dbsemaphore, low level"),
            (
                Other,
                "django-dbsemaphore, context manager",
                "django-dbsemaphore, context manager",
            ),
        ],
    },
    Panel {
        title: "One of 100,000 tickets, the first 90 % held",
        note: "Time, in empty transactions: shorter is better",
        section: "peers_many",
        column: "time_of_round_trips",
        of: &[("tickets", "100000"), ("held", "90000")],
        bars: &[
            (Ours, "guard", "guard"),
            (
                Other,
                "SKIP LOCKED by hand",
                "SKIP LOCKED by hand, rolled back",
            ),
            (Other, "django-dbsemaphore", "django-dbsemaphore, low level"),
        ],
    },
    Panel {
        title: "The longest waits of 16 workers who share 3 tickets",
        note: "99th percentile, perfect queue = 1: shorter is better. The others try again every 10 ms",
        section: "peers_queue",
        column: "p99_of_perfect",
        of: &[("tickets", "3"), ("workers", "16")],
        bars: &[
            (Ours, "waiting in the queue", "guard that may wait"),
            (
                Other,
                "SKIP LOCKED by hand",
                "SKIP LOCKED by hand, rolled back",
            ),
            (
                Other,
                "advisory locks by hand",
                "pg_try_advisory_lock over n keys",
            ),
            (Other, "django-dbsemaphore", "django-dbsemaphore, low level"),
        ],
    },
];

pub(crate) fn run(options: &Options, report: &mut Report) {
    let mut body = String::new();
    let mut top = 8.0;
    for panel in &PANELS {
        top = draw(panel, report, top, &mut body);
    }
    let height = top + 4.0;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Speed beside other ways\">\n\
         <style>{STYLE}</style>\n{body}</svg>\n"
    );
    fs::write(&options.svg, svg).unwrap();
    println!("{}", options.svg.display());
}

/// Returns where the next one begins.
fn draw(panel: &Panel, report: &Report, top: f64, body: &mut String) -> f64 {
    let figure = |what| {
        let row: Vec<_> = panel.of.iter().copied().chain([("what", what)]).collect();
        report.figure(panel.section, &row, panel.column)
    };
    let bars: Vec<_> = panel
        .bars
        .iter()
        .filter_map(|&(side, label, what)| Some((side, label, figure(what)?)))
        .collect();
    let most = bars.iter().map(|bar| bar.2).fold(1.0, f64::max);
    if bars.is_empty() {
        return top;
    }
    let mut draw = |text: std::fmt::Arguments<'_>| body.write_fmt(text).unwrap();
    draw(format_args!(
        "<text class=\"title\" x=\"16\" y=\"{}\">{}</text>\n<text class=\"note\" x=\"16\" y=\"{}\">{}</text>\n",
        top + 18.0,
        panel.title,
        top + 37.0,
        panel.note
    ));
    let first = top + 48.0;
    let end = first + LINE * bars.len() as f64;
    for (number, (side, label, figure)) in bars.iter().enumerate() {
        let class = match side {
            Ours => "ours",
            Floor => "floor",
            Other => "other",
        };
        let text_class = if matches!(side, Ours) {
            " class=\"ours\""
        } else {
            ""
        };
        let y = first + LINE * number as f64;
        let length = (figure / most * LONGEST).max(1.0);
        draw(format_args!(
            "<text{text_class} x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>\n\
             <rect class=\"{class}\" x=\"{BARS_FROM}\" y=\"{}\" width=\"{length:.1}\" height=\"16\" rx=\"2\"/>\n\
             <text class=\"value\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
            BARS_FROM - 10.0,
            y + 17.0,
            y + 4.0,
            BARS_FROM + length + 8.0,
            y + 17.0,
            short(*figure)
        ));
    }
    let one = LONGEST / most;
    // Where the one that it stands for can be told from nothing.
    if one > 4.0 {
        draw(format_args!(
            "<line class=\"one\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{first}\" y2=\"{end}\"/>\n",
            BARS_FROM + one
        ));
    }
    draw(format_args!(
        "<line class=\"axis\" x1=\"{BARS_FROM}\" x2=\"{BARS_FROM}\" y1=\"{first}\" y2=\"{end}\"/>\n"
    ));
    end + 26.0
}

fn short(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => {
            format!("{:.0},{:03.0}", (figure / 1000.0).floor(), figure % 1000.0)
        }
        figure if figure >= 10.0 => format!("{figure:.0}"),
        figure if figure >= 2.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}
