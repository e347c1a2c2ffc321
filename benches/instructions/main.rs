//! Workloads whose instructions are counted: `instructions WORKLOAD [TIMES]`.
//!
//! The same lines each time, made here and of the shape that agents write; nothing depends on the clock, on addresses
//! or on the order in which threads run.

use harmony::agent::{Account, Kind, Reader};
use harmony::line::{Name, Stamper, Ts, header, looks_whole};
use harmony::source::{Intake, Out, Registry};
use harmony::state::State;
use std::hint::black_box;
use std::io;
use std::process::ExitCode;

type Workload = (&'static str, fn(&Data));

/// What is counted, in the order in which it is told.
const WORKLOADS: [Workload; 7] = [
    ("nothing", |_| {}),
    ("splice", splice),
    ("wrap", wrap),
    ("read", read),
    ("header", read_headers),
    ("fold", fold),
    ("merge", merge),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let wanted = args.next().unwrap_or_default();
    let times = args.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let Some((_, work)) = WORKLOADS.iter().find(|(name, _)| *name == wanted) else {
        for (name, _) in WORKLOADS {
            println!("{name}");
        }
        return ExitCode::from(u8::from(!wanted.is_empty()) * 2);
    };
    let data = Data::new();
    for _ in 0..times {
        work(black_box(&data));
    }
    ExitCode::SUCCESS
}

struct Data {
    /// An agent's lines.
    worker: Vec<Vec<u8>>,
    /// Lines of text.
    text: Vec<Vec<u8>>,
    /// The agent's lines as lines of a stream.
    stream: Vec<u8>,
}

impl Data {
    fn new() -> Self {
        let worker: Vec<Vec<u8>> = (0..400).map(agent_line).collect();
        let text = (0..400).map(|n| format!("{n:4} {} plain \"text\"\tin a line", "some ".repeat(n % 17)).into_bytes());
        let mut stamper = stamper();
        let mut stream = Vec::new();
        for (n, line) in worker.iter().enumerate() {
            stamper.line(line, true, Ts(1_763_680_000_000_000 + n as u64 * 1000), &mut stream);
        }
        Self {
            text: text.collect(),
            worker,
            stream,
        }
    }
}

/// The n-th line: pieces of text, finished messages, tool calls and their long results, as they take turns.
fn agent_line(n: usize) -> Vec<u8> {
    let id = format!("{:08x}-0000-4000-8000-{:012x}", n * 2_654_435_761 % 0xffff_ffff, n);
    let usage = format!(
        r#"{{"input_tokens":{n},"cache_creation_input_tokens":0,"cache_read_input_tokens":{},"output_tokens":{},"service_tier":null}}"#,
        n * 100,
        n % 7
    );
    let ends =
        format!(r#""parent_tool_use_id":null,"session_id":"00000000-0000-4000-8000-000000000000","uuid":"{id}"}}"#);
    let message = |content: String| {
        format!(
            r#"{{"type":"assistant","message":{{"id":"msg_{n}","type":"message","role":"assistant","model":"some-model","content":[{content}],"stop_reason":null,"stop_sequence":null,"usage":{usage}}},{ends}"#
        )
    };
    let line = match n % 8 {
        0 => message(format!(
            r#"{{"type":"text","text":"{}"}}"#,
            r#"A sentence, with \"quotes\" and\n a line's end. "#.repeat(n % 31)
        )),
        1 => message(format!(
            r#"{{"type":"tool_use","id":"toolu_{n}","name":"Bash","input":{{"command":"ls -la \"$HOME\" | head","timeout":{n}}}}}"#
        )),
        2 => format!(
            r#"{{"type":"user","message":{{"role":"user","content":[{{"tool_use_id":"toolu_{n}","type":"tool_result","content":"{}","is_error":false}}]}},{ends}"#,
            "drwxr-xr-x 2 user user 4096 name\\n".repeat(n % 53)
        ),
        _ => format!(
            r#"{{"type":"stream_event","event":{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"piece {n} "}}}},{ends}"#
        ),
    };
    line.into_bytes()
}

#[allow(clippy::expect_used)]
fn stamper() -> Stamper {
    Stamper::new(Name::new("main").expect("a name"))
}

/// Worker's lines into lines of the stream.
fn splice(data: &Data) {
    stamp(&data.worker);
}

/// Text into lines of the stream.
fn wrap(data: &Data) {
    stamp(&data.text);
}

fn stamp(lines: &[Vec<u8>]) {
    let mut stamper = stamper();
    let mut out = Vec::with_capacity(1 << 20);
    for line in lines {
        stamper.line(line, true, Ts(1_763_680_000_123_456), &mut out);
    }
    black_box(out);
}

/// What an agent's lines say, with the check that comes before a splice.
fn read(data: &Data) {
    let mut reader = Reader::new(Kind::Claude);
    let (mut account, mut facts) = (Account::default(), Vec::new());
    for line in &data.worker {
        black_box(reader.object(line, &mut facts));
        facts.drain(..).for_each(|fact| account.take(fact));
    }
    black_box(account.usage());
}

fn lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    memchr::memchr_iter(b'\n', stream).map(move |feed| &stream[std::mem::replace(&mut from, feed + 1)..feed])
}

/// The headers of lines, and whether the lines are whole.
fn read_headers(data: &Data) {
    for line in lines(&data.stream) {
        black_box((header(line), looks_whole(line)));
    }
}

/// Lines into the picture of a run.
fn fold(data: &Data) {
    let mut state = State::default();
    for line in lines(&data.stream) {
        state.line(line);
    }
    black_box(state.totals());
}

struct Sink(Vec<u8>);

impl Out for Sink {
    fn wants(&mut self, _: &str) -> bool {
        true
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(lines);
        Ok(())
    }
}

/// A block of lines through a merge.
fn merge(data: &Data) {
    let mut out = Sink(Vec::with_capacity(1 << 20));
    let mut registry = Registry::default();
    let name = stamper().stream().clone();
    let mut intake = Intake::new(name, "main".to_owned(), false, false);
    let taken = intake.lines(&data.stream, Ts(1_763_680_001_000_000), &mut registry, &mut out);
    black_box((taken.is_ok(), out.0));
}
