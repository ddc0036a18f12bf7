//! Names and labels that others choose.

use crate::browser::{Browser, Look};
use diesel::{Connection, PgConnection};
use diesel_dbsemaphore::Request;
use page::{Crowd, Served, database_with};
use serde_json::json;

const SET_TITLE: &str = "document.title='run'";

/// The longest label of this name: labels are ASCII.
fn label(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii);
    format!("<img src=x>{}", letters.take(29).collect::<String>())
}

#[test]
fn hostile_names_and_labels_stay_text_and_run_nothing() {
    let names = [
        format!("<script>{SET_TITLE}</script>"),
        format!("\"><img src=x onerror=\"{SET_TITLE}\">"),
        format!("' onmouseover='{SET_TITLE}' x='"),
        "</table></main><h1>Semaphores".to_owned(),
        "javascript:alert(1)//&lt;{{ 7*7 }}".to_owned(),
        "\u{202e}gpj.exe \u{5d0}\u{5d1}\u{5d2}".to_owned(),
        "界".repeat(255),
        "W".repeat(255),
    ];
    let database = database_with(names.iter().map(|name| (name.as_str(), 1)));
    let url = format!(
        "{}&application_name=%3Cimg+src%3Dx+onerror%3D1%3E",
        database.url()
    );
    let mut crowd = Crowd::default();
    for name in &names {
        let label = label(name);
        let request = Request::new(name).label(&label);
        crowd.hold(
            PgConnection::establish(&url.replace('+', "%20")).unwrap(),
            request,
        );
    }
    let words = ["--interval", "100ms", "--allow-changes"];
    let served = Served::start(&[database.url()], &words);
    let browser = Browser::start(Look::default());
    browser.open(&served.url());
    // By the script of the page, too.
    browser.until("8 tickets in use", true);
    crate::changes::log_in(&browser, &served);
    browser.until("8 tickets in use", true);

    assert_eq!(browser.value("document.title"), "Semaphores");
    let foreign = "[...document.querySelectorAll('main img, main script, main h1, [onmouseover], [onerror]')].length";
    assert_eq!(browser.value(foreign), 0);
    assert_eq!(browser.value("document.scripts.length"), 1);
    // Forms have the name percent-encoded, the page has it without letters that nobody sees.
    let mut sorted = names.to_vec();
    sorted.sort();
    let mut sent: Vec<String> = serde_json::from_value(browser.value(
        "[...new Set([...document.querySelectorAll('input[name=semaphore]')].map(field => decodeURIComponent(field.value)))]",
    ))
    .unwrap();
    sent.sort();
    assert_eq!(sent, sorted);
    let texts = |cells: &str| {
        let list =
            format!("[...document.querySelectorAll('{cells}')].map(cell => cell.textContent)");
        let mut texts: Vec<String> = serde_json::from_value(browser.value(&list)).unwrap();
        texts.sort();
        texts
    };
    let mut shown: Vec<String> = names
        .iter()
        .map(|name| name.replace('\u{202e}', "\\u{202e}"))
        .collect();
    shown.sort();
    assert_eq!(texts(".all tbody th"), shown);
    let mut labels: Vec<String> = names.iter().map(|name| label(name)).collect();
    labels.sort();
    assert_eq!(texts(".people .label"), labels);
    assert!(browser.text().contains("<img src=x onerror=1>"));
    // Long names break; they don't push the rest out of the window.
    let is_too_wide = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(browser.value(is_too_wide), json!(false));
    crowd.end(&database);
}
