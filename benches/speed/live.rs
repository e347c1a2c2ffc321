//! The first words of the answer one waits for, beside seven other agents: the real claude, against the scripted API.

use crate::data::Data;
use crate::pair::median;
use crate::table::{Bar, Table};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

pub fn rows(data: &Data, table: &mut Table) -> io::Result<()> {
    let through = |name: &str, nice: &str| format!("cl-spawn {name}{nice} --partial 'hi @@text n=40@@'");
    let plain =
        "claude -p --output-format stream-json --include-partial-messages --verbose 'hi @@text n=40@@' < /dev/null";
    for (name, main, others, bar) in [
        (
            "first words of `main` beside 7 other claudes, of alone",
            through("main", ""),
            through("o$i", " --role ${roles[i % 3]}"),
            Bar::AtMost(1.15),
        ),
        (
            "the same, of claudes that a plain shell starts",
            plain.to_owned(),
            plain.to_owned(),
            Bar::None,
        ),
    ] {
        table.row(name, bar, || {
            let live = Live::start(data)?;
            let others = format!(
                "roles=(context suggestions validation); for i in 1 2 3 4 5 6 7; do {others} > /dev/null 2>&1 & done"
            );
            let (mut ratios, mut alone, mut beside) = (Vec::new(), Vec::new(), Vec::new());
            live.first_words(&main)?;
            for _ in 0..if data.quick { 3 } else { 9 } {
                alone.push(live.first_words(&main)?);
                beside.push(live.first_words(&format!("{others}; {main}"))?);
                ratios.extend(beside.last().zip(alone.last()).map(|(beside, alone)| beside / alone));
            }
            let told = format!(
                "{:.2} s against {:.2} s",
                median(beside.into_iter()),
                median(alone.into_iter())
            );
            Ok((median(ratios.into_iter()), told))
        });
    }
    Ok(())
}

/// The scripted API, and the home of a claude that knows no other.
struct Live<'a> {
    data: &'a Data,
    api: Child,
    port: String,
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let _ = self.api.kill();
        let _ = self.api.wait();
    }
}

impl<'a> Live<'a> {
    fn start(data: &'a Data) -> io::Result<Self> {
        data.needs("claude")?;
        let fixture = crate::tools().join("examples/fixture");
        if !Path::new(&fixture).exists() {
            return Err(io::Error::other("the fixture is not built"));
        }
        let mut api = data
            .command(&[&fixture.to_string_lossy(), "api"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(api.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut port)?;
        let port = port.trim().to_owned();
        std::fs::create_dir_all(data.folder.join("home/work"))?;
        Ok(Self { data, api, port })
    }

    /// How long until the first words come out of a script; what else it started is ended then.
    fn first_words(&self, text: &str) -> io::Result<f64> {
        let home = self.data.folder.join("home");
        let mut command = self.data.script(&format!("{text}; wait"));
        command
            .current_dir(home.join("work"))
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("XDG_RUNTIME_DIR", &home)
            .env("ANTHROPIC_API_KEY", "sk-ant-scripted")
            .env("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", self.port))
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).split(b'\n');
        let found = lines.find(|line| {
            line.as_ref()
                .map_or(true, |line| memchr::memmem::find(line, b"text_delta").is_some())
        });
        let took = begin.elapsed().as_secs_f64();
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        // Until the last of them has let go of our pipe.
        for line in lines {
            let _ = line;
        }
        child.wait()?;
        match found {
            Some(Ok(_)) => Ok(took),
            _ => Err(io::Error::other("no words came")),
        }
    }
}
