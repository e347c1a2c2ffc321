//! A real browser, headless, driven through its own protocol over a pipe; it reaches nothing but files and loopback.
//!
//! Without chromium on PATH, the tests that need it say so and pass; with CL_REQUIRE_BROWSER=1 they fail instead.

use super::harness::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A browser with one page.
pub struct Browser {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    /// What the page said on its console, what it threw, what was forbidden to it.
    pub complaints: Vec<String>,
    /// What was asked for, its own `data:` and what its policy forbade apart; and the ids of these requests.
    pub requests: Vec<String>,
    asked: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.send("", "Browser.close", &json!({}));
        let end = Instant::now() + std::time::Duration::from_secs(5);
        // Its pipe ends with it.
        while self
            .messages
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Something that is there for the tests with a browser, or `None` where these are to be skipped.
pub fn needed(there: bool, what: &str) -> Option<()> {
    if there {
        return Some(());
    }
    let required = std::env::var_os("CL_REQUIRE_BROWSER").is_some_and(|value| value == "1");
    assert!(!required, "CL_REQUIRE_BROWSER=1, but {what} is missing");
    println!("skipped: {what} is missing");
    None
}

/// A file or folder that `.ci/run` lays down for these tests.
pub fn laid_down(name: &str) -> Option<PathBuf> {
    let path = root().join("target/browser").join(name);
    needed(path.exists(), &format!("target/browser/{name}")).map(|()| path)
}

impl Browser {
    /// Starts one; `None` where there is none.
    pub fn open() -> Option<Self> {
        let there = command("chromium").arg("--version").output();
        needed(there.is_ok_and(|done| done.status.success()), "chromium")?;
        let profile = scratch();
        let mut bash = command("bash");
        let flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions \
                     --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe";
        let script =
            format!("exec chromium {flags} --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null");
        bash.args(["-c", &script, "bash"])
            .arg(profile.path())
            .env("HOME", profile.path());
        bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = bash.spawn().expect("starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut message = Vec::new();
            while stdout.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                let value = serde_json::from_slice(&message).unwrap_or(Value::Null);
                if sender.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self {
            child,
            stdin,
            messages,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            asked: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &target);
        text(&session, "/sessionId").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    fn send(&mut self, session: &str, method: &str, params: &Value) -> std::io::Result<u64> {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        self.stdin.write_all(format!("{message}\0").as_bytes())?;
        Ok(self.next)
    }

    /// Asks for something, and gives the answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        let session = self.session.clone();
        let id = self.send(&session, method, params).expect("writes");
        let answer = self.until(method, |message| message["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Reads on until there is such a message.
    fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left);
            let message = message.unwrap_or_else(|error| panic!("{what}: {error}"));
            self.notice(&message);
            if fits(&message) {
                return message;
            }
        }
    }

    fn notice(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.consoleAPICalled") => self.complaints.push(params["args"].to_string()),
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") => self.complaints.push(params["entry"].to_string()),
            Some("Network.requestWillBeSent") => {
                let url = text(params, "/request/url");
                if !url.starts_with("data:") {
                    self.requests.push(url.to_owned());
                    self.asked.push(params["requestId"].clone());
                }
            }
            // The page wanted it, and its policy did not let it: nothing left.
            Some("Network.loadingFailed") if params["blockedReason"] == "csp" => {
                if let Some(at) = self.asked.iter().position(|id| *id == params["requestId"]) {
                    self.asked.remove(at);
                    self.requests.remove(at);
                }
            }
            _ => {}
        }
    }

    /// Goes to a page, and waits until it is loaded.
    pub fn go(&mut self, url: &str) {
        let session = self.session.clone();
        self.send(&session, "Page.navigate", &json!({"url": url}))
            .expect("writes");
        self.until(url, |message| message["method"] == "Page.loadEventFired");
    }

    /// The value of an expression, or of what it promises.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let done = self.call("Runtime.evaluate", &params);
        assert!(done["exceptionDetails"].is_null(), "{expression}: {done}");
        done["result"]["value"].clone()
    }

    /// Presses the mouse button in the middle of an element.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let at = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}});
               const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &params);
        }
    }

    /// Types into what has the focus.
    pub fn types(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// What it is looked at with.
    pub fn screen(&mut self, columns: u32, rows: u32, scheme: &str) {
        let mobile = columns < 600;
        let size = json!({"width": columns, "height": rows, "deviceScaleFactor": 1, "mobile": mobile});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// A picture of the screen. It is kept where CL_SCREENSHOTS names a folder, for somebody to look at.
    pub fn shot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("CL_SCREENSHOTS") else {
            return;
        };
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let mut decode = command("base64");
        decode.arg("-d");
        let png = finish(decode, text(&picture, "/data").as_bytes()).ok().out;
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), png).expect("writes");
    }
}

/// Serves the files of these folders on loopback, as long as the test runs; gives the address.
pub fn serve(folders: Vec<PathBuf>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("has an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folders = folders.clone();
            std::thread::spawn(move || answer(stream, &folders));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, folders: &[PathBuf]) -> Option<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    while !head.ends_with(b"\r\n\r\n") {
        reader
            .by_ref()
            .take(1 << 16)
            .read_until(b'\n', &mut head)
            .ok()
            .filter(|count| *count > 0)?;
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1)?.split('?').next()?.trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    let found = folders.iter().find_map(|folder| std::fs::read(folder.join(path)).ok());
    let kind = match path.rsplit('.').next()? {
        "html" => "text/html",
        "js" => "text/javascript",
        "css" => "text/css",
        "wasm" => "application/wasm",
        "json" => "application/json",
        _ => "application/octet-stream",
    };
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
