//! A worker's own output, with what is known of the run beside it.

use super::{End, Stage, Stopped, signal};
use crate::frame::Framer;
use serde_json::Value;
use std::io::{self, Read};
use std::time::Duration;

/// What `x.meta.json` says about `x.ndjson`.
#[derive(Debug, Default)]
pub struct Meta {
    end: Option<End>,
    duration: Option<Duration>,
    /// Lines of stderr, and when each came.
    stderr: Vec<(Option<Duration>, String)>,
    /// When how many bytes of stdout came.
    arrivals: Vec<(Duration, u64)>,
}

/// Plays an input of which `framer` holds the beginning.
///
/// # Errors
/// When the input cannot be read, and what the stage says.
pub fn play(meta: Meta, mut input: impl Read, mut framer: Framer, stage: &mut impl Stage) -> Result<End, Stopped> {
    let mut tape = Tape {
        stderr: meta.stderr.into_iter().peekable(),
        arrivals: meta.arrivals.into_iter().peekable(),
        credit: 0,
        out: stage,
    };
    // Lines mean nothing here; the framer only gives back what was read to look at the first one.
    while let Some(frame) = framer.next() {
        tape.stdout(frame.bytes)?;
        if frame.eol {
            tape.stdout(b"\n")?;
        }
    }
    if let Some(frame) = framer.finish() {
        tape.stdout(frame.bytes)?;
    }
    let mut block = vec![0; 64 << 10];
    loop {
        match input.read(&mut block) {
            Ok(0) => break,
            Ok(count) => tape.stdout(&block[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Input(error)),
        }
    }
    tape.rest(meta.duration)?;
    Ok(meta.end.unwrap_or(End::Code(0)))
}

struct Tape<'a, S> {
    stderr: std::iter::Peekable<std::vec::IntoIter<(Option<Duration>, String)>>,
    arrivals: std::iter::Peekable<std::vec::IntoIter<(Duration, u64)>>,
    /// Bytes of stdout that are due.
    credit: u64,
    out: &'a mut S,
}

impl<S: Stage> Tape<'_, S> {
    fn stdout(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            if self.credit == 0 {
                // What the times do not cover follows at once.
                let (at, count) = self.arrivals.next().unwrap_or((Duration::ZERO, u64::MAX));
                self.stderr_until(at)?;
                self.out.wait(at)?;
                self.credit = count;
            }
            let count = bytes.len().min(usize::try_from(self.credit).unwrap_or(usize::MAX));
            self.out.stdout().extend_from_slice(&bytes[..count]);
            self.out.settle()?;
            bytes = &bytes[count..];
            self.credit -= count as u64;
        }
        Ok(())
    }

    /// Lines of stderr that came before that time.
    fn stderr_until(&mut self, time: Duration) -> Result<(), Stopped> {
        while let Some((Some(at), line)) = self.stderr.next_if(|(at, _)| at.is_some_and(|at| at <= time)) {
            self.out.wait(at)?;
            self.out.stderr(line.as_bytes())?;
        }
        Ok(())
    }

    fn rest(mut self, duration: Option<Duration>) -> Result<(), Stopped> {
        for (at, line) in self.stderr.by_ref() {
            self.out.wait(at.unwrap_or_default())?;
            self.out.stderr(line.as_bytes())?;
        }
        self.out.wait(duration.unwrap_or_default())
    }
}

impl Meta {
    /// Reads it.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        meta(&value)
    }
}

fn meta(value: &Value) -> Result<Meta, String> {
    let end = match (&value["signal"], &value["exit"]) {
        (Value::String(name), _) => Some(signal(name).ok_or_else(|| format!("'{name}' is no signal that ends"))?),
        (_, Value::Null) => None,
        (_, code) => {
            let code = code.as_u64().and_then(|code| u8::try_from(code).ok());
            Some(End::Code(code.ok_or("exit is no number from 0 to 255")?))
        }
    };
    let times: Vec<Duration> = list(&value["stderr_ms"]).filter_map(millis).collect();
    let lines = value["stderr"].as_str().unwrap_or_default().split_inclusive('\n');
    Ok(Meta {
        end,
        duration: millis(&value["duration_ms"]),
        // Lines that came in one read share its time.
        stderr: lines
            .enumerate()
            .map(|(i, line)| (times.get(i).or(times.last()).copied(), line.to_owned()))
            .collect(),
        arrivals: list(&value["arrivals"])
            .filter_map(|item| Some((millis(&item[0])?, item[1].as_u64()?)))
            .collect(),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn millis(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()? / 1000.0).ok()
}
