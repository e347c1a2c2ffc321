//! Where plans, runs and their files lie, and how they are read.

use crate::cli::{self, Failure, reason};
use crate::line::{Exit, header, subtype};
use crate::plan::{Format, Plan};
use crate::role::Roles;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at once from a file's end.
const BLOCK: usize = 4096;

/// In the folder of a plan's run: what was done.
pub const JOURNAL: &str = "journal";

/// In the folder of a plan's run: held open, and locked, by cl-run and everything that it has started.
pub const HELD: &str = ".held";

/// The forms of a plan, in the order in which a run folder is searched for one.
pub(super) const PLANS: [Format; 2] = [Format::Toml, Format::Json];

/// The user's own folder for what outlives a run: `$XDG_STATE_HOME/cl`, else `$HOME/.local/state/cl`.
pub fn state_folder() -> Option<PathBuf> {
    let folder = |variable: &str| {
        std::env::var_os(variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("cl"))
}

/// The folder that the run folders of plans lie in, in the user's own.
pub fn runs_folder() -> Option<PathBuf> {
    state_folder().map(|state| state.join("runs"))
}

/// How long the time is with which the name of a run's folder begins: `YYYY-MM-DDTHHMMSS.mmm`.
const STAMP: usize = 21;

/// Whether a folder of that name is one of a run of this plan.
pub(super) fn is_run_of(folder: &OsStr, plan: &str) -> bool {
    let named = folder
        .to_str()
        .and_then(|folder| folder.get(STAMP..)?.strip_prefix('-'));
    named == Some(plan)
}

/// The folder of a run that begins now, below [`runs_folder`].
pub fn fresh_name(plan: &str) -> String {
    format!("{}-{plan}", jiff::Zoned::now().strftime("%Y-%m-%dT%H%M%S.%3f"))
}

/// A plan with its document.
#[derive(Debug)]
pub struct Document {
    /// The plan.
    pub plan: Plan,
    /// How it is written.
    pub text: String,
    /// In which form.
    pub format: Format,
}

/// Reads a plan; `-` is stdin. All that is wrong with it is told as `tool`; the failure, whose exit code is `wrong`,
/// says how much.
///
/// # Errors
/// What keeps it from being read, or that it is wrong.
pub fn read_plan(tool: &str, path: &Path, roles: &Roles, wrong: u8) -> Result<Document, Failure> {
    let name = shown(path);
    let (text, format) = read_text(path)?;
    let plan = Plan::read(&text, format, roles).map_err(|problems| {
        for problem in &problems {
            cli::complain(tool, &problem.told(&name));
        }
        let count = problems.len();
        Failure {
            message: format!("{name}: {count} {}", if count == 1 { "error" } else { "errors" }),
            code: wrong,
        }
    })?;
    Ok(Document { plan, text, format })
}

/// Reads a plan's document; `-` is stdin.
///
/// # Errors
/// What keeps it from being read.
pub fn read_text(path: &Path) -> Result<(String, Format), Failure> {
    let name = shown(path);
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes = bytes.map_err(|error| Failure::io(&name, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure {
        message: format!("{name}: it is no UTF-8 text"),
        code: 1,
    })?;
    let format = format_of(path, &text);
    Ok((text, format))
}

/// How messages call a file.
fn shown(path: &Path) -> String {
    match path.to_str() {
        Some("-") => "stdin".to_owned(),
        _ => path.display().to_string(),
    }
}

/// How a plan is written, by its file's name and its first character.
fn format_of(path: &Path, text: &str) -> Format {
    let json = path.extension().is_some_and(|ext| ext == "json") || text.trim_start().starts_with('{');
    if json { Format::Json } else { Format::Toml }
}

/// The plan in a run folder.
///
/// # Errors
/// When there is none.
pub fn plan_of_run(run: &Path) -> Result<PathBuf, Failure> {
    let mut there = PLANS.into_iter().map(|format| run.join(format.file_name()));
    let there = there.find(|path| path.exists());
    let wrong = |message: String| Failure { message, code: 1 };
    there.ok_or_else(|| match std::fs::metadata(run) {
        Err(error) => wrong(format!("{}: {}", run.display(), reason(&error))),
        Ok(_) => wrong(format!(
            "{}: there is no plan.toml in it: is it the folder of a run?",
            run.display()
        )),
    })
}

/// Looks at more and more of a file's end, until `look` finds there what it looks for; it is told whether that is all.
fn from_the_end<T>(file: &File, mut look: impl FnMut(&[u8], bool) -> Option<T>) -> io::Result<Option<T>> {
    let all = file.metadata()?.len();
    let mut step = BLOCK as u64;
    loop {
        let size = step.min(all);
        let mut tail = vec![0; size as usize];
        file.read_exact_at(&mut tail, all - size)?;
        let found = look(&tail, size == all);
        if found.is_some() || size == all {
            return Ok(found);
        }
        // A line that is long is read in few steps.
        step = step.saturating_mul(4);
    }
}

/// A file's last line, without its line feed; and whether it has one. Empty where the file is.
///
/// # Errors
/// What keeps it from being read.
pub fn last_line(file: &File) -> io::Result<(Vec<u8>, bool)> {
    let found = from_the_end(file, |tail, all| {
        let ended = tail.last() == Some(&b'\n');
        let line = &tail[..tail.len() - usize::from(ended)];
        let feed = memchr::memrchr(b'\n', line);
        let begin = feed.map(|feed| feed + 1).or(all.then_some(0))?;
        Some((line[begin..].to_vec(), ended))
    })?;
    Ok(found.unwrap_or_default())
}

/// The end of a stream, where its file tells it: not that of another stream that it holds, nor what a worker says.
///
/// # Errors
/// What keeps it from being read.
pub fn exit_of(file: &File, stream: &str) -> io::Result<Option<Exit>> {
    let (line, whole) = last_line(file)?;
    let own = header(&line).filter(|head| whole && head.stream == stream);
    let ends = own.is_some_and(|head| subtype(&line, &head) == Some(b"exit"));
    Ok(ends.then(|| serde_json::from_slice(&line).ok()).flatten())
}

/// The number of the last line that a stream wrote to its file, which may hold lines of others behind it.
///
/// # Errors
/// What keeps it from being read.
pub fn last_seq(file: &File, stream: &str) -> io::Result<u64> {
    let own = |line: &[u8]| header(line).filter(|head| head.stream == stream).map(|head| head.seq);
    let found = from_the_end(file, |tail, all| {
        // Half a line is no line.
        let half = if all { None } else { memchr::memchr(b'\n', tail) };
        let whole = &tail[half.map_or(0, |feed| feed + 1)..];
        whole.rsplit(|&byte| byte == b'\n').find_map(own)
    })?;
    Ok(found.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_end_is_the_streams_own() {
        let line = |stream: &str, seq: u64, rest: &str| {
            format!("{{\"cl\":{{\"stream\":\"{stream}\",\"seq\":{seq},\"ts\":1.000000}},{rest}}}\n")
        };
        let end = r#""type":"cl","subtype":"exit","outcome":"success""#;
        for (last, ends, seq) in [
            (line("a", 4, end), true, 4),
            (line("a", 4, end).trim_end().to_owned(), false, 4),
            (line("a/b", 9, end), false, 3),
            (line("a", 4, &end.replace("\"cl\"", "\"x\"")), false, 4),
            (
                line(
                    "a",
                    4,
                    &format!("\"type\":\"cl\",\"subtype\":\"text\",\"text\":{{{end}}}"),
                ),
                false,
                4,
            ),
            (format!("{{{end}}}\n"), false, 3),
            (
                line("a/b", 9, &format!("\"text\":\"{}\"", "x".repeat(9 * BLOCK))),
                false,
                3,
            ),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            write!(file, "{}{last}", line("a", 3, "\"type\":\"x\"")).unwrap();
            assert_eq!(exit_of(&file, "a").unwrap().is_some(), ends, "{last}");
            assert_eq!(last_seq(&file, "a").unwrap(), seq, "{last}");
        }
    }

    #[test]
    fn the_last_line_of_any_file() {
        let long = "x".repeat(3 * BLOCK);
        for (text, line, ended) in [
            ("", "", false),
            ("a", "a", false),
            ("a\n", "a", true),
            ("a\nb", "b", false),
            ("a\n\n", "", true),
            (&format!("a\n{long}\n"), long.as_str(), true),
            (&long, long.as_str(), false),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(last_line(&file).unwrap(), (line.as_bytes().to_vec(), ended));
        }
    }
}
