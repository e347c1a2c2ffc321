//! Makes the picture in the README: frames of cl-progress on a recorded run, as an SVG that plays them.
//!
//! `.ci/picture` writes it into its file.

mod cells;
mod svg;

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// How wide the frames are.
const COLUMNS: usize = 96;
/// The moments that are shown, in tenths of a second of the run, and for how many tenths each of them stands.
const MOMENTS: std::ops::RangeInclusive<usize> = 5..=70;
const STEP: usize = 5;
const LAST: usize = 30;
/// The moment that is shown where nothing moves.
const STILL: usize = 45;

fn main() -> Result<(), Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let tool = own
        .parent()
        .and_then(Path::parent)
        .ok_or("no folder above")?
        .join("cl-progress");
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/frames/run.ndjson");
    let mut frames = Vec::new();
    for tenths in MOMENTS.step_by(STEP) {
        let last = tenths + STEP > *MOMENTS.end();
        frames.push(svg::Frame {
            rows: frame(&tool, &run, tenths)?,
            tenths: if last { LAST } else { STEP },
            still: tenths == STILL,
        });
    }
    print!("{}", svg::drawing(&frames, COLUMNS));
    Ok(())
}

/// What the tool shows of the run as it was then.
fn frame(tool: &Path, run: &Path, tenths: usize) -> Result<Vec<Vec<cells::Piece>>, Box<dyn Error>> {
    let mut command = Command::new(tool);
    command.args(["--once", "--color", "always", "-n", "2", "--at"]);
    command.arg(format!("{}.{}s", tenths / 10, tenths % 10)).arg(run);
    for stream in ["main", "context", "suggestions", "validation", "build", "audit"] {
        command.args(["--only", stream]);
    }
    let out = command
        .env("COLUMNS", COLUMNS.to_string())
        .env("TZ", "UTC")
        .env_remove("NO_COLOR")
        .output()?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned().into());
    }
    let text = String::from_utf8(out.stdout)?;
    Ok(text.lines().map(cells::pieces).collect())
}
