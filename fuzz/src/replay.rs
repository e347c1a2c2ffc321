//! What cl-replay plays.

use harmony::frame::Framer;
use harmony::line::{Name, Stamper, Ts};
use harmony::replay::{LONGEST, Meta, Stage, Stopped, play_bare, play_stream};
use std::time::Duration;

/// Takes what is played, at once.
#[derive(Default)]
struct Taken {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    complaints: usize,
}

impl Stage for Taken {
    fn wait(&mut self, _: Duration) -> Result<(), Stopped> {
        Ok(())
    }

    fn stdout(&mut self) -> &mut Vec<u8> {
        &mut self.stdout
    }

    fn settle(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.stderr.extend_from_slice(bytes);
        Ok(())
    }

    fn complain(&mut self, _: &str) -> Result<(), Stopped> {
        self.complaints += 1;
        Ok(())
    }
}

/// Any bytes as a recording, as what is known beside one, and as what a worker wrote that was then recorded.
pub fn replay(data: &[u8]) {
    let mut taken = Taken::default();
    let _ = play_stream(None, Some(data), data, Framer::new(LONGEST), &mut taken);
    let _ = play_stream(None, None::<&[u8]>, data, Framer::new(LONGEST), &mut taken);

    let meta = Meta::read(data).unwrap_or_default();
    let mut taken = Taken::default();
    assert!(play_bare(meta, data, Framer::new(LONGEST), &mut taken).is_ok());
    assert_eq!(taken.stdout, data, "a worker's own output as it is");

    let mut recorded = Vec::new();
    let mut stamper = Stamper::new(Name::new("s").expect("a name"));
    for (line, eol) in super::lines(data) {
        stamper.line(line, eol, Ts(7), &mut recorded);
    }
    if stamper.seq() == 0 {
        return;
    }
    let mut taken = Taken::default();
    let played = play_stream(Some("s"), None::<&[u8]>, &*recorded, Framer::new(LONGEST), &mut taken);
    assert!(played.is_ok() && taken.complaints == 0);
    assert_eq!(taken.stdout, data, "a recorded worker's output as it was");
}
