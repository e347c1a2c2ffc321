//! A run in the trace-event format, as ui.perfetto.dev and chrome://tracing open it.
//!
//! Each stream is a process with a track for its attempts and, within these, turns, one for its waits, and one for its
//! tools, or as many as it used at once: slices of one track may only lie within one another.

use super::clean::clean;
use super::live::Look;
use super::report::{Report, Told, name};
use super::words;
use crate::line::Ts;
use crate::state::State;
use crate::timeline::{Entry, What};
use serde_json::{Value, json};

/// More than a stream has tracks; ids must differ over the whole trace.
const TRACKS: usize = 128;

/// The run as a trace. Times are microseconds since it began.
pub fn trace(state: &State, now: Ts, look: &Look) -> String {
    let report = Report::new(state, now, look);
    let mut events = Events {
        text: String::new(),
        began: report.span.0,
    };
    for told in &report.streams {
        events.stream(told, report.span);
    }
    let began = words::in_zone(report.span.0, "%Y-%m-%dT%H:%M:%S%:z", &look.zone).unwrap_or_default();
    let about = json!({"run": report.title, "totals": report.totals.join(", "), "began": began});
    let Events { text, .. } = events;
    format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[{text}\n]}}\n")
}

struct Events {
    text: String,
    began: Ts,
}

impl Events {
    fn put(&mut self, event: &Value) {
        self.text.push_str(if self.text.is_empty() { "\n" } else { ",\n" });
        self.text.push_str(&event.to_string());
    }

    fn about(&mut self, what: &str, (pid, tid): (usize, usize), args: &Value) {
        self.put(&json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}));
    }

    fn stream(&mut self, told: &Told<'_>, span: (Ts, Ts)) {
        let pid = 1 + told.place * TRACKS;
        self.about("process_name", (pid, pid), &json!({"name": told.stream.name}));
        self.about("process_sort_index", (pid, pid), &json!({"sort_index": told.place}));
        let labels = [told.state, &told.agent, &told.cost];
        let labels: Vec<&str> = labels.into_iter().filter(|label| !label.is_empty()).collect();
        self.about("process_labels", (pid, pid), &json!({"labels": labels.join(", ")}));
        self.about("thread_name", (pid, pid), &json!({"name": "attempts"}));
        let (mut waits, mut lanes) = (false, Vec::new());
        for entry in told.entries(span) {
            let track = match entry.what {
                what if what.is_wait() => {
                    if !std::mem::replace(&mut waits, true) {
                        self.about("thread_name", (pid, pid + 1), &json!({"name": "waits"}));
                    }
                    1
                }
                What::Tool => {
                    let free = lanes.iter().position(|end| *end <= entry.from);
                    let lane = free.unwrap_or_else(|| {
                        let name = match lanes.len() {
                            0 => "tools".to_owned(),
                            more => format!("tools {}", more + 1),
                        };
                        self.about("thread_name", (pid, pid + 2 + lanes.len()), &json!({"name": name}));
                        lanes.push(entry.to);
                        lanes.len() - 1
                    });
                    lanes[lane] = entry.to;
                    2 + lane
                }
                _ => 0,
            };
            let args = self.args(told, &entry);
            self.entry(&entry, (pid, pid + track), &args);
        }
    }

    fn args(&self, told: &Told<'_>, entry: &Entry) -> Value {
        let mut args = json!({});
        let mut put = |name: &str, value: Value| args[name] = value;
        if !entry.detail.is_empty() {
            put("detail", json!(clean(&entry.detail)));
        }
        if entry.bad {
            put("bad", json!(true));
        }
        if entry.open {
            put("unfinished", json!(true));
        }
        if entry.what == What::Exit {
            let usage = told.stream.usage();
            put("tokens", json!(words::tokens(usage)));
            put("cost_usd", json!(told.stream.cost()));
            put("turns", json!(told.turns));
            put("lines", json!(told.stream.lines));
            put("entries_left_out", json!(told.left_out()));
        }
        args
    }

    fn entry(&mut self, entry: &Entry, (pid, tid): (usize, usize), args: &Value) {
        let ts = entry.from.0 - self.began.0;
        let (name, cat) = (name(entry), entry.what.as_str());
        let mut event = json!({"name": name, "cat": cat, "ts": ts, "pid": pid, "tid": tid, "args": args});
        if entry.what.is_moment() {
            event["ph"] = json!("i");
            event["s"] = json!("t");
        } else {
            event["ph"] = json!("X");
            event["dur"] = json!(entry.to.0 - entry.from.0);
        }
        self.put(&event);
    }
}
