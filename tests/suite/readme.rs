//! Every command that the README shows, and every script in `examples`, is run here.

use crate::harness::{Done, bash, command, finish, json_lines, root, scratch, text, until};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A piece of the README that a shell can run.
struct Block {
    line: usize,
    shell: &'static str,
    script: String,
}

/// The fenced `sh` and `bash` blocks, and the scripts inside `yaml` ones.
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        let (shell, script) = match language {
            "sh" => ("sh", body.join("\n")),
            "bash" => ("bash", body.join("\n")),
            "yaml" => ("bash", run_part(&body)),
            "text" => continue,
            other => panic!("README.md:{}: a block of {other:?}, which nobody tests", at + 1),
        };
        found.push(Block {
            line: at + 1,
            shell,
            script,
        });
    }
    found
}

/// What stands below `run: |` in a workflow.
fn run_part(body: &[&str]) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let at = body
        .iter()
        .position(|line| line.trim() == "run: |")
        .expect("a step that runs something");
    let deeper = body[at + 1..].iter().take_while(|line| indent(line) > indent(body[at]));
    deeper.map(|line| line.trim_start()).collect::<Vec<_>>().join("\n")
}

/// A scratch folder as a clone would be, with a `claude` that plays a recording as fast as it can.
fn clone() -> tempfile::TempDir {
    let home = scratch();
    symlink(root().join("examples"), home.path().join("examples")).expect("links");
    let bin = home.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    let claude = bin.join("claude");
    let recordings = root().join("examples/recordings");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--input-format=*) exec \"$FIXTURE\" claude \"$@\";; esac\n\
         file={0}/$CL_STREAM.ndjson\n[ -e \"$file\" ] || file={0}/main.ndjson\n\
         cat > /dev/null\nexec cl-replay --speed max \"$file\"\n",
        recordings.display()
    );
    fs::write(&claude, script).expect("writes");
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o755)).expect("made executable");
    home
}

/// A shell in that folder. It sees the tools, the stand-in for claude, and no cargo.
fn shell(name: &str, home: &Path) -> Command {
    let mut shell = command(name);
    let path = shell
        .get_envs()
        .find_map(|(name, value)| (name == "PATH").then_some(value?.to_owned()))
        .expect("a PATH");
    let path = format!("{}:{}", home.join("bin").display(), path.to_string_lossy());
    shell
        .current_dir(home)
        .env("PATH", path)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("TMUX_TMPDIR", home)
        .env("GITHUB_STEP_SUMMARY", home.join("summary.md"))
        .env("q", "How should we add rate limiting to the login endpoint?");
    shell
}

fn installed(program: &str) -> bool {
    let found = bash(&format!("command -v {program}")).code() == 0;
    if !found {
        eprintln!("skipped what needs {program}, which is not installed");
    }
    found
}

#[track_caller]
fn went_well(done: &Done, what: &str) {
    let complaints: Vec<&str> = done.err.lines().filter(|line| line.starts_with("cl-")).collect();
    let text = String::from_utf8_lossy(&done.out);
    assert!(
        done.code() == 0 && complaints.is_empty(),
        "{what} ended with {}: {}\n{text}",
        done.code(),
        done.err
    );
}

/// In the order in which they stand, for some use what those before have left, as a reader would.
#[test]
fn every_command_works() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let home = clone();
    let mut tmux = None;
    let blocks = blocks(&readme);
    assert!(blocks.len() > 9, "only {} blocks were found", blocks.len());
    for Block {
        line,
        shell: name,
        script,
    } in blocks
    {
        if ["tmux", "jq"]
            .iter()
            .any(|program| script.contains(&format!("{program} ")) && !installed(program))
        {
            continue;
        }
        if script.contains("tmux ") {
            tmux = Some(Tmux(home.path()));
        }
        let mut shell = shell(name, home.path());
        shell.arg("-eu");
        if name == "bash" {
            shell.args(["-o", "pipefail"]);
        }
        shell.args(["-c", &script]);
        went_well(&finish(shell, b""), &format!("README.md:{line}"));
    }
    if let Some(Tmux(home)) = &tmux {
        until("the tmux session's end", || {
            let mut list = shell("tmux", home);
            list.arg("list-sessions");
            (finish(list, b"").code() != 0).then_some(())
        });
    }
}

/// The tmux server of a folder, which ends with the test.
struct Tmux<'a>(&'a Path);

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let mut kill = shell("tmux", self.0);
        kill.arg("kill-server");
        finish(kill, b"");
    }
}

/// The links lead somewhere, and what is said to lie somewhere lies there.
#[test]
fn what_it_names_is_there() {
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(page)).expect(page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let elsewhere = target.starts_with("http") || target.starts_with('#');
            assert!(
                elsewhere || root().join(target).exists(),
                "{page} leads to {target}, which is not there"
            );
        }
        for named in text.split('`').skip(1).step_by(2) {
            let path = named.split_whitespace().next().unwrap_or("");
            let ours = ["lib/", "bins/", "man/", "examples/", "tests/", "completions/"]
                .iter()
                .any(|top| path.starts_with(top));
            let there = !ours || path.contains('*') || root().join(path).exists();
            assert!(there, "{page} names {path}, which is not there");
        }
    }
}

/// The demo ends well, with each answer, and says where the run lies.
#[test]
fn the_demo_plays_its_recordings() {
    let home = clone();
    let mut demo = shell("bash", home.path());
    demo.arg("examples/demo.sh");
    let done = finish(demo, b"").exits(0);
    for stream in ["main", "context", "suggestions", "validation"] {
        let recording = fs::read(root().join(format!("examples/recordings/{stream}.ndjson"))).expect("a recording");
        let last = recording
            .trim_ascii_end()
            .rsplit(|&b| b == b'\n')
            .next()
            .expect("a line");
        let exit: serde_json::Value = serde_json::from_slice(last).expect("JSON");
        let answer = exit["text"].as_str().expect("an answer");
        assert!(
            done.text().contains(answer.trim()),
            "the answer of {stream} is missing: {}",
            done.text()
        );
    }
    assert!(kept(&done).join("validation.ndjson").exists());
}

/// The end of a recording, or of a stream in a run folder.
fn exit_in(file: &Path) -> serde_json::Value {
    let lines = json_lines(&fs::read(file).expect("a stream"));
    lines.into_iter().last().expect("a line")
}

fn start_in(file: &Path) -> serde_json::Value {
    json_lines(&fs::read(file).expect("a stream")).swap_remove(0)
}

fn example(home: &Path, script: &str, args: &[&str]) -> Done {
    let mut shell = shell("bash", home);
    shell.arg(format!("examples/{script}")).args(args);
    finish(shell, b"")
}

/// Each answer comes in its turn, on recordings; and asked, each is built on the one before.
#[test]
fn the_progressive_answer() {
    let home = clone();
    let recordings = root().join("examples/recordings");
    let played = example(home.path(), "progressive.sh", &[]).exits(0);
    let mut rest = played.text();
    for role in ["quick", "enhanced", "complete"] {
        let exit = exit_in(&recordings.join(format!("{role}.ndjson")));
        let last = text(&exit, "/text").lines().last().expect("an answer");
        let (_, after) = rest.split_once(&format!("{role} │ {last}")).expect(role);
        rest = after;
    }
    let asked = example(home.path(), "progressive.sh", &["--live", "What now?"]).exits(0);
    let run = kept(&asked);
    for (role, before) in [("enhanced", "quick"), ("complete", "enhanced")] {
        let start = start_in(&run.join(format!("{role}.ndjson")));
        let answer = exit_in(&run.join(format!("{before}.ndjson")));
        let prompt = text(&start, "/prompt");
        assert!(
            prompt.starts_with("What now?") && prompt.contains(text(&answer, "/text")),
            "{prompt}"
        );
    }
    assert!(
        example(home.path(), "progressive.sh", &["-x"])
            .exits(2)
            .err
            .contains("--live [QUESTION]")
    );
}

/// Four roles at once, then the conversation of one goes on.
#[test]
fn the_orchestra() {
    let home = clone();
    let recordings = root().join("examples/recordings");
    let played = example(home.path(), "orchestra.sh", &[]).exits(0);
    for recording in ["main", "follow-up/main"] {
        let exit = exit_in(&recordings.join(format!("{recording}.ndjson")));
        assert!(played.text().contains(text(&exit, "/text").trim()), "{}", played.text());
    }
    let asked = example(home.path(), "orchestra.sh", &["--live", "What now?", "And then?"]).exits(0);
    assert!(asked.text().contains("\n== And then?\n"), "{}", asked.text());
    let run = kept(&asked);
    // Who had not begun when it was enough left no line.
    let roles = ["main", "context", "suggestions", "validation"];
    let begun = (1..)
        .zip(roles)
        .filter(|(_, role)| run.join(format!("{role}.ndjson")).exists());
    for (priority, role) in begun {
        let start = start_in(&run.join(format!("{role}.ndjson")));
        assert_eq!(
            (text(&start, "/role"), &start["priority"]),
            (role, &priority.into()),
            "{start}"
        );
    }
    let start = start_in(&run.join("follow-up/main.ndjson"));
    let main = exit_in(&run.join("main.ndjson"));
    let resumes = format!("\"--resume={}\"", text(&main, "/session_id"));
    assert!(start["argv"].to_string().contains(&resumes), "{start}");
    assert_eq!(text(&start, "/prompt"), "And then?");
    assert!(
        example(home.path(), "orchestra.sh", &["-x"])
            .exits(2)
            .err
            .contains("FOLLOW-UP")
    );
}

/// Where an example says that the run lies.
fn kept(done: &Done) -> PathBuf {
    let said = done
        .err
        .lines()
        .find_map(|line| line.split_once(".sh: the run is kept in ").map(|(_, said)| said));
    let said = said
        .and_then(|said| said.split(';').next())
        .expect("says where the run is kept");
    PathBuf::from(said)
}

/// Live, it asks the claude that is there, and what it was told to ask.
#[test]
fn the_demo_asks() {
    let home = clone();
    let mut demo = shell("bash", home.path());
    demo.args(["examples/demo.sh", "--live", "What now?"]);
    let done = finish(demo, b"").exits(0);
    let run = kept(&done);
    for (stream, frame) in [("main", ""), ("validation", "Say how to check an answer: ")] {
        let lines = fs::read(run.join(format!("{stream}.ndjson"))).expect("a stream");
        let start = &json_lines(&lines)[0];
        assert_eq!((text(start, "/role"), text(start, "/agent")), (stream, "claude"));
        let prompt = text(start, "/prompt");
        assert!(prompt.contains(frame) && prompt.ends_with("What now?"), "{prompt}");
    }
}

#[test]
fn the_demo_tells_the_truth() {
    let home = clone();
    fs::write(home.path().join("bin/claude"), "#!/bin/sh\necho no luck >&2; exit 3\n").expect("writes");
    let mut demo = shell("bash", home.path());
    demo.args(["examples/demo.sh", "--live", "What now?"]);
    finish(demo, b"").exits(1);
    let mut wrong = shell("bash", home.path());
    wrong.args(["examples/demo.sh", "--alive"]);
    let wrong = finish(wrong, b"").exits(2);
    assert_eq!(wrong.err, "demo.sh: --alive: no such option; see --help\n");
    let mut help = shell("bash", home.path());
    help.args(["examples/demo.sh", "--help"]);
    let help = finish(help, b"").ok();
    assert!(help.text().contains("--live [QUESTION]"));
}

#[test]
fn every_example_is_a_sound_script() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "sh") {
            continue;
        }
        seen += 1;
        assert!(
            path.metadata().expect("a file").permissions().mode() & 0o111 != 0,
            "{} cannot be run",
            path.display()
        );
        bash(&format!("bash -n '{}'", path.display())).ok();
    }
    assert!(seen > 0);
}
