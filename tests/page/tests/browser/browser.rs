//! A headless Chromium, by its driver.

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::unistd::Uid;
use serde_json::{Value, json};
use stand::eventually;
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Browser {
    runtime: Runtime,
    /// `None` only while it is dropped.
    client: Option<Client>,
    driver: Child,
}

/// How the page is shown.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
    pub(crate) has_scripts: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            width: 1500,
            height: 1000,
            is_dark: false,
            has_scripts: true,
        }
    }
}

impl Browser {
    pub(crate) fn start(look: Look) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is missing: run make test-browser");
        let printed = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = printed.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let url = format!(
            "http://127.0.0.1:{}",
            port.expect("the port of chromedriver")
        );
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let Value::Object(capabilities) = capabilities(look) else {
            unreachable!("an object");
        };
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities).connect(&url).await
        });
        Self {
            runtime,
            client: Some(client.unwrap()),
            driver,
        }
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    pub(crate) fn open(&self, url: &str) {
        self.runtime.block_on(self.client().goto(url)).unwrap();
    }

    /// What this expression has as its value, on the page.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        let value = self.client().execute(&script, Vec::new());
        self.runtime.block_on(value).unwrap()
    }

    /// The text of the page that people see.
    pub(crate) fn text(&self) -> String {
        let text = self.value("document.body.innerText");
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the page shows this text, or no longer shows it.
    pub(crate) fn until(&self, text: &str, is_shown: bool) {
        eventually(text, || self.text().contains(text) == is_shown);
    }

    /// Clicks on the element with this path. A refresh may replace it before.
    pub(crate) fn click(&self, path: &str) {
        eventually(path, || {
            self.runtime
                .block_on(async {
                    let element = self.client().find(Locator::XPath(path)).await?;
                    element.click().await
                })
                .is_ok()
        });
    }

    /// Replaces the text of a field.
    pub(crate) fn fill(&self, path: &str, text: &str) {
        let filled = self.runtime.block_on(async {
            let element = self.client().find(Locator::XPath(path)).await?;
            element.clear().await?;
            element.send_keys(text).await
        });
        filled.unwrap();
    }

    /// A picture of what is in the window.
    pub(crate) fn picture(&self) -> Vec<u8> {
        self.runtime.block_on(self.client().screenshot()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn capabilities(look: Look) -> Value {
    let scheme = if look.is_dark { 0 } else { 1 };
    let mut words = vec![
        "--headless".to_owned(),
        "--hide-scrollbars".to_owned(),
        // The browser then ends with its driver, however that ends.
        "--remote-debugging-pipe".to_owned(),
        // What /dev/shm has in a container is too little.
        "--disable-dev-shm-usage".to_owned(),
        format!("--blink-settings=preferredColorScheme={scheme}"),
    ];
    if Uid::effective().is_root() {
        // Chromium refuses to run as root with one.
        words.push("--no-sandbox".to_owned());
    }
    let scripts = if look.has_scripts { 1 } else { 2 };
    let size = json!({ "width": look.width, "height": look.height, "pixelRatio": 1, "touch": false, "mobile": false });
    json!({
        "goog:chromeOptions": {
            "args": words,
            "mobileEmulation": { "deviceMetrics": size },
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        },
    })
}
