//! Every bar of speed against its yardstick, in one table: `speed [--quick] [ROW]…`, by way of `benches/run`.
//!
//! Ratios are medians over pairs of runs in turn, so they hold on a machine that others use, too. Only rows whose name
//! holds one of the words ROW are measured, where there are any.

mod data;
mod emit;
mod flow;
mod growth;
mod latency;
mod live;
mod pair;
mod plans;
mod quiet;
mod table;

use data::Data;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Table;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ended = match args.first().map(String::as_str) {
        Some("emit") => emit::emit(&args[1..]),
        _ => measure(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &[String]) -> io::Result<()> {
    let quick = args.iter().any(|arg| arg == "--quick");
    let words: Vec<String> = args.iter().filter(|arg| !arg.starts_with('-')).cloned().collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let data = Data::make(&folder, quick)?;
    let mut table = Table::new(words);
    flow::rows(&data, &mut table)?;
    latency::rows(&data, &mut table)?;
    quiet::rows(&data, &mut table)?;
    growth::rows(&data, &mut table)?;
    plans::rows(&data, &mut table)?;
    live::rows(&data, &mut table)?;
    sizes(&mut table)?;
    table.end();
    Ok(())
}

/// The folder of the built tools.
pub fn tools() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent()
        .and_then(Path::parent)
        .map(Path::to_owned)
        .unwrap_or_default()
}

fn sizes(table: &mut Table) -> io::Result<()> {
    for name in [
        "cl-spawn",
        "cl-merge",
        "cl-tee",
        "cl-progress",
        "cl-wait",
        "cl-replay",
        "cl-plan",
        "cl-run",
    ] {
        table.row(&format!("size of {name}, MiB"), table::Bar::None, || {
            let size = std::fs::metadata(tools().join(name))?.len();
            Ok((size as f64 / (1 << 20) as f64, String::new()))
        });
    }
    Ok(())
}
