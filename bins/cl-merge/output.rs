//! What is written, and in which form.

use crate::args::{Args, Output};
use crate::sorter::Sorter;
use harmony::line::{Glob, unwrap};
use harmony::sink::Shared;
use harmony::source::Out;
use harmony::view::Text;
use std::io;
use std::time::Instant;

/// As much is collected before it is written; what is longer is written straight.
const BLOCK: usize = 64 << 10;

enum Form {
    Ndjson,
    Text(Box<Text>),
    Raw,
    Seq,
}

/// Our stdout, with the choice of streams, the order and the form.
pub struct Writer {
    only: Vec<Glob>,
    not: Vec<Glob>,
    /// With `--order time`.
    pub sorter: Option<Sorter>,
    end: End,
}

/// The end of the way, behind choice and order.
struct End {
    stdout: Shared,
    form: Form,
    buffer: Vec<u8>,
}

impl Writer {
    pub fn new(args: &Args, stdout: Shared, sorter: Option<Sorter>, color: bool) -> Self {
        Self {
            only: args.only.clone(),
            not: args.not.clone(),
            sorter,
            end: End {
                stdout,
                form: match args.output {
                    Output::Ndjson => Form::Ndjson,
                    Output::Text => Form::Text(Box::new(Text::new(color))),
                    Output::Raw => Form::Raw,
                    Output::Seq => Form::Seq,
                },
                buffer: Vec::new(),
            },
        }
    }

    /// Our stdout, to be watched.
    pub fn stdout(&self) -> &Shared {
        &self.end.stdout
    }

    /// Writes all that may be written by now.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(sorter) = &mut self.sorter {
            let now = Instant::now();
            while let Some(line) = sorter.release(now) {
                self.end.lines(&line)?;
            }
        }
        self.end.flush()
    }

    /// Writes all there is.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(sorter) = &mut self.sorter {
            while let Some(line) = sorter.pop() {
                self.end.lines(&line)?;
            }
        }
        if let Form::Text(text) = &mut self.end.form {
            text.finish(&mut self.end.buffer);
        }
        self.end.flush()
    }
}

impl Out for Writer {
    fn wants(&mut self, stream: &str) -> bool {
        let is = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(stream));
        (self.only.is_empty() || is(&self.only)) && !is(&self.not)
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(sorter) = &mut self.sorter else {
            return self.end.lines(lines);
        };
        let now = Instant::now();
        for line in lines.split_inclusive(|&b| b == b'\n') {
            sorter.push(line, now);
        }
        while let Some(line) = sorter.release(now) {
            self.end.lines(&line)?;
        }
        Ok(())
    }
}

impl End {
    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        let each = || {
            lines
                .split_inclusive(|&b| b == b'\n')
                .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        };
        match &mut self.form {
            Form::Ndjson if self.buffer.is_empty() && lines.len() >= BLOCK / 4 => return self.stdout.write(lines),
            Form::Ndjson => self.buffer.extend_from_slice(lines),
            Form::Text(text) => each().for_each(|line| text.line(line, &mut self.buffer)),
            Form::Raw => each().for_each(|line| unwrap(line, &mut self.buffer)),
            Form::Seq => each().for_each(|line| {
                self.buffer.push(0x1e);
                self.buffer.extend_from_slice(line);
                self.buffer.push(b'\n');
            }),
        }
        if self.buffer.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.stdout.write(&self.buffer);
        self.buffer.clear();
        // What one long line needed is not kept for ever.
        self.buffer.shrink_to(16 * BLOCK);
        written
    }
}
