//! Makes a test of each block of Rust or SQL in docs/guide and README.md.
//!
//! A page shows no set-up, so each test starts with that of the crate's `SetUp`. What a block needs beyond that stands in HTML
//! comments before it, `<!-- before` and `<!-- after`, whose lines of Rust run before and after the block. Those before it run
//! with the block's SQL in one transaction, which is rolled back.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// What was read of a page since its last block.
#[derive(Default)]
struct Comments {
    before: String,
    after: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let top = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let folder = top.join("docs/guide");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    pages.sort();
    pages.push(top.join("README.md"));

    let mut tests = String::new();
    for page in pages {
        println!("cargo::rerun-if-changed={}", page.display());
        let name = page.strip_prefix(&top)?.display().to_string();
        tests.push_str(&tests_of(&name, &fs::read_to_string(&page)?)?);
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("examples.rs"), tests)?;
    Ok(())
}

fn tests_of(page: &str, text: &str) -> Result<String, Box<dyn Error>> {
    let mut tests = String::new();
    let mut comments = Comments::default();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let place = format!("{page}:{number}");
        let mut until = |end: &str| -> Result<String, String> {
            let mut read = String::new();
            for (line, _) in lines.by_ref() {
                if line == end {
                    return Ok(read);
                }
                read.push_str(line);
                read.push('\n');
            }
            Err(format!("{place}: this has no end"))
        };
        match line {
            "" => {}
            "<!-- before" => comments.before.push_str(&until("-->")?),
            "<!-- after" => comments.after.push_str(&until("-->")?),
            "```rust" => {
                let block = until("```")?;
                write_test(&mut tests, &place, std::mem::take(&mut comments), &block)?;
            }
            "```sql" => {
                let block = format!("conn.batch_execute(r###\"{}\"###)?;\n", until("```")?);
                comments
                    .before
                    .insert_str(0, "conn.begin_test_transaction()?;\n");
                write_test(&mut tests, &place, std::mem::take(&mut comments), &block)?;
            }
            // A block with an attribute would not be run.
            _ if line.starts_with("```rust") || line.starts_with("```sql") || line == "```" => {
                return Err(format!(
                    "{place}: a block begins with ```rust, ```sql or another language"
                )
                .into());
            }
            _ if line.starts_with("```") => drop(until("```")?),
            _ if !comments.before.is_empty() || !comments.after.is_empty() => {
                return Err(
                    format!("{place}: a comment for an example comes just before it").into(),
                );
            }
            _ => {}
        }
    }
    Ok(tests)
}

fn write_test(
    tests: &mut String,
    place: &str,
    comments: Comments,
    block: &str,
) -> std::fmt::Result {
    let name: String = place
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '_'
            }
        })
        .collect();
    let Comments { before, after } = comments;
    writeln!(
        tests,
        "/// {place}\n\
         #[test]\n\
         fn {name}() -> guide::Outcome {{\n\
         use guide::prelude::*;\n\
         let guide::SetUp {{ database, database_url, mut conn, ticket_pool }} = guide::SetUp::new()?;\n\
         {before}{{\n\
         // {place}\n\
         {block}{after}}}\n\
         Ok(())\n\
         }}\n"
    )
}
