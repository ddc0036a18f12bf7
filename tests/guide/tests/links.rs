//! The links of the documentation, on a repository's page and in rustdoc.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const ITEMS: &str = "https://docs.rs/diesel-dbsemaphore/latest/diesel_dbsemaphore/";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn pages(folder: &str) -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir(top().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The lines outside of blocks.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap();
    let parts = text.split("\n```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}

/// The definitions `[label]: target`, by label. Markdown ignores the case of labels.
fn definitions(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .map(|(label, target)| (label.to_lowercase(), target.to_owned()))
        .collect()
}

/// The targets of `[text](target)`.
fn inline_targets(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap().to_owned())
        .collect()
}

/// The anchors that a page has, as a repository's page and rustdoc both make them of its headings.
fn anchors(page: &Path) -> Vec<String> {
    prose(page)
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|heading| {
            heading
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|letter| match letter {
                    ' ' => Some('-'),
                    '-' | '_' => Some(letter),
                    _ => letter.is_alphanumeric().then_some(letter),
                })
                .collect()
        })
        .collect()
}

#[test]
fn relative_links_lead_to_a_file_and_a_heading() {
    for page in [pages("."), pages("docs"), pages("docs/guide"), pages("cli")].concat() {
        let text = prose(&page);
        for target in inline_targets(&text)
            .into_iter()
            .chain(definitions(&text).into_values())
        {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target
                .split_once('#')
                .map_or((&*target, None), |(file, anchor)| (file, Some(anchor)));
            let file = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            assert!(file.exists(), "{}: {target}", page.display());
            if let Some(anchor) = anchor {
                assert!(
                    anchors(&file).iter().any(|a| a == anchor),
                    "{}: {target}",
                    page.display()
                );
            }
        }
    }
}

/// rustdoc leaves a relative link as it is, where there is no such page.
#[test]
fn rustdoc_has_each_link_of_the_guide() {
    let in_rustdoc = definitions(&fs::read_to_string(top().join("src/guide/links.md")).unwrap());
    let mut used = Vec::new();
    for page in pages("docs/guide") {
        let text = prose(&page);
        for target in inline_targets(&text) {
            assert!(
                target.starts_with('#'),
                "{}: {target} is not a reference",
                page.display()
            );
        }
        for (label, target) in definitions(&text) {
            if let Some(item) = target.strip_prefix(ITEMS) {
                assert_eq!(in_rustdoc.get(&label), Some(&path_of(item)), "{label}");
            } else if let Some(chapter) = target.strip_suffix(".md") {
                assert_eq!(
                    in_rustdoc.get(&label),
                    Some(&format!("crate::guide::{chapter}")),
                    "{label}"
                );
            } else if let Some((chapter, anchor)) = target
                .split_once(".md#")
                .filter(|_| !target.starts_with('.'))
            {
                assert_eq!(
                    in_rustdoc.get(&label),
                    Some(&format!("crate::guide::{chapter}#{anchor}")),
                    "{label}"
                );
            } else if target.starts_with('.') {
                assert!(in_rustdoc.contains_key(&label), "{label}");
            }
            used.push(label);
        }
    }
    for label in in_rustdoc.keys() {
        assert!(used.contains(label), "no page has a link {label}");
    }
}

/// `crate::Request::wait` for `struct.Request.html#method.wait`.
fn path_of(item: &str) -> String {
    let (page, member) = item.split_once('#').unwrap_or((item, ""));
    let name = page
        .strip_suffix("/index.html")
        .or_else(|| {
            page.strip_suffix(".html")?
                .split_once('.')
                .map(|(_kind, name)| name)
        })
        .unwrap();
    match member.split_once('.') {
        Some((_kind, member)) => format!("crate::{name}::{member}"),
        None => format!("crate::{name}"),
    }
}
