//! A plan as a bash script of the other tools.

use harmony::cli::Failure;
use harmony::plan::{Format, Graph, Place, Plan, Settings, Stream, Wait, When, Worktree, fill};
use harmony::role::Roles;
use std::fmt::Write as _;

/// What is the same for every plan.
const DRIVER: &str = include_str!("script.sh");

/// Longer than any plan, for a policy that only the end of the stream decides.
const NEVER: &str = "--any=1000000";

/// The script.
pub fn script(plan: &Plan, roles: &Roles) -> Result<String, Failure> {
    let graph = Graph::new(plan).map_err(|_| crate::documents::wrong("the plan has a circle"))?;
    let mut text = head(plan);
    tables(&mut text, plan, &graph, roles);
    work(&mut text, plan);
    policy(&mut text, plan.wait.as_ref());
    text += DRIVER;
    Ok(text)
}

fn head(plan: &Plan) -> String {
    let name = &plan.name;
    let end = (0..)
        .map(|n| format!("END_OF_PLAN_{n}"))
        .find(|end| !plan.write(Format::Toml).contains(end.as_str()));
    let end = end.unwrap_or_default();
    format!(
        "#!/usr/bin/env bash\n\
         # The plan {name} as a script of cl-spawn, cl-tee, cl-merge and cl-wait, made by cl-plan.\n\
         #\n\
         #   SCRIPT [-k] [-j N] [-u] [RUN]\n\
         #\n\
         # The streams go to stdout, merged, and each into a file of the folder RUN (by default one below\n\
         # $XDG_STATE_HOME/cl/runs). -j N runs at most N at once; -k goes on with what does not build on a stream that\n\
         # failed; -u takes back, when the plan fails, what was done, as the plan's undo says. The exit code is 0 when\n\
         # the plan's policy is met, 1 when not, 124 when its time is up, 128+N after signal N.\n\
         \n\
         set -uo pipefail\n\
         \n\
         name={name}\n\
         jobs={}\n\
         prompt={}\n\
         \n\
         plan() {{\n  cat <<'{end}'\n{}{end}\n}}\n\n",
        plan.jobs,
        quoted(plan.prompt.as_deref().unwrap_or_default()),
        plan.write(Format::Toml),
    )
}

/// The graph as bash's tables. Names of streams need no quotes.
fn tables(text: &mut String, plan: &Plan, graph: &Graph, roles: &Roles) {
    let takes = vec![1.0; plan.streams.len()];
    let names = |list: &[usize]| {
        let names: Vec<&str> = list.iter().map(|&at| plan.streams[at].name.as_str()).collect();
        names.join(" ")
    };
    let _ = writeln!(
        text,
        "# In the order in which they start where not all can at once.\norder=({})",
        names(&graph.ranks(&plan.priorities(roles), &takes))
    );
    let mut table = |name: &str, about: &str, value: &dyn Fn(usize, &Stream) -> String| {
        let _ = write!(text, "# {about}\ndeclare -A {name}=(");
        for (at, stream) in plan.streams.iter().enumerate() {
            let value = value(at, stream);
            if !value.is_empty() {
                let _ = write!(text, "\n  [{}]='{value}'", stream.name);
            }
        }
        let _ = writeln!(text, ")");
    };
    table("before", "What must have ended first.", &|at, _| {
        names(graph.before(at))
    });
    table(
        "after",
        "What must have ended well, in itself or by one that stands in for it.",
        &|at, _| names(graph.after(at)),
    );
    table(
        "instead",
        "In whose place a stream runs, should that one fail.",
        &|at, _| names(graph.instead(at).as_slice()),
    );
    table("stand_in", "The same the other way round.", &|at, _| {
        names(graph.stand_in(at).as_slice())
    });
    table(
        "when",
        "Streams that run although one before them failed, or because of it.",
        &|_, stream| {
            let word = (stream.when != When::Success).then(|| stream.when.as_str());
            word.unwrap_or_default().to_owned()
        },
    );
    table(
        "optional",
        "Streams whose failure is no failure of the plan.",
        &|_, stream| if stream.optional { "1" } else { "" }.to_owned(),
    );
    table("locks", "Locks, in the order in which they are taken.", &|_, stream| {
        let mut locks = stream.locks.clone();
        locks.sort();
        locks.join(" ")
    });
}

/// What each stream does, and what takes it back.
fn work(text: &mut String, plan: &Plan) {
    text.push_str("\nwork() {\n  case $1 in\n");
    for (at, stream) in plan.streams.iter().enumerate() {
        let settings = plan.settings(stream);
        let _ = writeln!(text, "    {})", stream.name);
        place(text, plan, stream, &settings);
        let options = options(&settings);
        let asks = plan.asks(stream).map(|asks| match &stream.prompt {
            Some(template) => template_of(template, text),
            // The plan's own prompt is no template.
            None if asks.is_empty() => "''".to_owned(),
            None => "\"$prompt\"".to_owned(),
        });
        if stream.run.is_empty() {
            let _ = writeln!(
                text,
                "      ask {} {}{options} ;;",
                stream.name,
                asks.unwrap_or_else(|| "''".to_owned())
            );
        } else {
            let mut stdin = String::new();
            if let Some(asks) = asks {
                let _ = writeln!(text, "      printf %s {asks} >\"$run/.prompt{at}\" || return 1");
                stdin = format!(" --stdin \"$run/.prompt{at}\"");
            }
            let argv: Vec<String> = stream.run.iter().map(|arg| template_of(arg, text)).collect();
            let _ = writeln!(
                text,
                "      spawn {}{options}{stdin} -- {} ;;",
                stream.name,
                argv.join(" ")
            );
        }
    }
    text.push_str("  esac\n}\n\nundo() {\n  case $1 in\n");
    for stream in plan.streams.iter().filter(|stream| !stream.undo.is_empty()) {
        let _ = writeln!(text, "    {})", stream.name);
        place(text, plan, stream, &plan.settings(stream));
        let argv: Vec<String> = stream.undo.iter().map(|arg| template_of(arg, text)).collect();
        let _ = writeln!(text, "      {} ;;", argv.join(" "));
    }
    text.push_str("  esac\n}\n");
}

/// The stream's worktree.
fn place(text: &mut String, plan: &Plan, stream: &Stream, settings: &Settings) {
    let folder = match &settings.worktree {
        Some(Worktree::Own) => String::new(),
        Some(Worktree::At(path)) => path.clone(),
        Some(Worktree::No) | None => return,
    };
    let branch = plan.branch(stream);
    let _ = writeln!(
        text,
        "      worktree {} {} || return 1",
        quoted(&folder),
        quoted(&branch)
    );
}

fn options(settings: &Settings) -> String {
    let mut all = String::new();
    for option in settings.options() {
        let _ = match option.split_once('=') {
            Some((name, value)) => write!(all, " {name}={}", quoted(value)),
            None => write!(all, " {option}"),
        };
    }
    if matches!(settings.worktree, Some(Worktree::Own | Worktree::At(_))) {
        all.push_str(" --cwd=\"$tree\"");
    }
    all
}

/// A template as a word in double quotes. What it takes from files is read first, into variables, in lines before it.
fn template_of(template: &str, text: &mut String) -> String {
    let mut files = 0;
    let filled = fill(template, |plain| plain.to_owned(), |_| Ok(String::new()));
    if filled.as_deref() == Ok(template) {
        return quoted(template);
    }
    let word = fill(template, in_double_quotes, |place| {
        Ok(match place {
            Place::Prompt => "$prompt".to_owned(),
            Place::Worktree => "$tree".to_owned(),
            Place::Text(stream) => format!("$(answer {stream})"),
            Place::File(path) => {
                // As many as there are lines already: a name that no other template of the script has.
                let name = format!("file{}_{files}", text.matches('\n').count());
                files += 1;
                let _ = writeln!(text, "      {name}=$(cat -- {}) || return 1", quoted(path));
                format!("${{{name}}}")
            }
        })
    });
    // A plan is checked before: there is no place that is none.
    format!("\"{}\"", word.unwrap_or_default())
}

/// How the streams flow to stdout, and what the exit code is.
fn policy(text: &mut String, wait: Option<&Wait>) {
    let mut options = String::new();
    let mut ours = true;
    if let Some(wait) = wait {
        ours = wait.need.is_empty() && wait.any.is_none() && !wait.first;
        if !wait.need.is_empty() {
            let _ = write!(options, " --need={}", wait.need.join(","));
        }
        if let Some(any) = wait.any {
            let _ = write!(
                options,
                " --any={any} --grace={}",
                quoted(wait.grace.as_deref().unwrap_or("15s"))
            );
        }
        if wait.first {
            options.push_str(" --first");
        }
        if let Some(timeout) = &wait.timeout {
            let _ = write!(options, " --timeout={}", quoted(timeout));
        }
    }
    // With a policy of its own the plan says itself what is a failure: none halts the others.
    let halts = if ours { "1" } else { "" };
    // Without one the plan is well when each stream is that is not optional.
    let (merge, verdict) = match (ours, options.is_empty()) {
        (true, true) => (
            "cl-merge".to_owned(),
            "[ -n \"$gone\" ] || [ -z \"$unwell\" ] || code=1",
        ),
        // cl-wait is there for its time alone: so many streams never come.
        (true, false) => (
            format!("cl-wait --pass -o none {NEVER}{options} < <(exec cl-merge)"),
            "case $code in 124 | 141) ;; *) [ -z \"$unwell\" ] && code=0 || code=1 ;; esac",
        ),
        (false, _) => (format!("cl-wait --pass -o none{options} < <(exec cl-merge)"), ":"),
    };
    let _ = write!(
        text,
        "\n# Whether a failure lets nothing else begin.\nhalts={halts}\n\
         # From the streams to stdout, and what the exit code is.\n\
         merge() {{ exec 8> >(exec {merge}); }}\n\
         verdict() {{\n  {verdict}\n}}\n"
    );
}

/// A word as bash takes it, without quotes where it needs none.
fn quoted(text: &str) -> String {
    let simple = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(simple) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn in_double_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
