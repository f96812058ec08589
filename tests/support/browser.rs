//! Owns a headless Chromium that tests drive by the DevTools protocol, over a pair of named pipes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{TestSpace, said};

/// How long an answer may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub struct Browser {
    child: Child,
    requests: File,
    answers: Receiver<Value>,
    session: Option<String>,
    count: u64,
    /// The addresses that the page asked for.
    pub asked: Vec<String>,
    /// What the page complained about.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts one that knows nobody.
    pub fn start(space: &TestSpace) -> Browser {
        let (into, out) = (space.path("to-browser"), space.path("from-browser"));
        said(Command::new("mkfifo").args([&into, &out]));
        // Opened in both directions, a pipe waits for nobody.
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).expect("a pipe");
        let (requests, mut answered) = (open(&into), open(&out));
        let profile = format!("--user-data-dir={}", space.path("profile").display());
        let mut command = Command::new("sh");
        command.args(["-c", "exec chromium \"$@\" 3<\"$INTO\" 4>\"$OUT\"", "sh"]);
        command.env("INTO", &into).env("OUT", &out).env("HOME", space.path("no-home"));
        command.args(["--headless=new", "--no-sandbox", "--remote-debugging-pipe", &profile]);
        command.args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        let log = File::create(space.path("browser.log")).expect("a file");
        command.arg("about:blank").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("a shell");
        let (send, answers) = channel();
        std::thread::spawn(move || {
            let (mut bytes, mut piece) = (Vec::new(), [0; 65536]);
            while let Ok(count) = answered.read(&mut piece) {
                bytes.extend_from_slice(&piece[..count]);
                while let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                    let message: Vec<u8> = bytes.drain(..=end).collect();
                    let message = serde_json::from_slice(&message[..end]).expect("a message of the browser");
                    if send.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        let (asked, complaints) = (Vec::new(), Vec::new());
        let mut browser = Browser { child, requests, answers, session: None, count: 0, asked, complaints };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks the browser for something; what happens meanwhile is taken down.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.count += 1;
        let mut request = json!({ "id": self.count, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = session.clone().into();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).expect("the browser listens");
        loop {
            let message = self.next(method);
            if message["id"] == self.count {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn next(&mut self, waiting_for: &str) -> Value {
        let message = self.answers.recv_timeout(PATIENCE);
        let message = message.unwrap_or_else(|_| panic!("the browser says nothing about {waiting_for}"));
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let address = message["params"]["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(address.to_owned());
            }
            Some("Runtime.exceptionThrown" | "Log.entryAdded") => self.complaints.push(message.to_string()),
            _ => {}
        }
        message
    }

    /// Opens an address, and waits until the page is there.
    pub fn open(&mut self, address: &str) {
        // Of an address that differs in its end only, the page would stay.
        self.call("Page.navigate", json!({ "url": "about:blank" }));
        self.call("Page.navigate", json!({ "url": address }));
        while self.value("document.readyState + location.href.slice(0, 5)") == "loadingabout"
            || self.value("document.readyState") != "complete"
            || self.value("location.href.slice(0, 5)") == "about"
        {
            self.next("the page");
        }
    }

    /// What an expression is in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Writes as on a keyboard.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Whether pages may run scripts, from the next one on.
    pub fn scripts(&mut self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !allowed }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It takes its helpers with it. Nothing is left to do where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
