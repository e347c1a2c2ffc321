//! git worktrees of streams.

use super::*;

/// A repository with one commit, in the folder `shop`.
fn repository(home: &Path) -> std::path::PathBuf {
    let repository = home.join("shop");
    std::fs::create_dir(&repository).unwrap();
    git(
        home,
        &repository,
        "git init -q -b main . && git commit -q --allow-empty -m first",
    );
    repository
}

fn git(home: &Path, folder: &Path, script: &str) -> Done {
    let mut bash = command("bash");
    bash.args(["-c", script]).current_dir(folder).env("HOME", home);
    for who in ["AUTHOR", "COMMITTER"] {
        bash.env(format!("GIT_{who}_NAME"), "x")
            .env(format!("GIT_{who}_EMAIL"), "x@y");
    }
    finish(bash, b"").exits(0)
}

fn run(home: &Path, repository: &Path, run: &str, args: &[&str]) -> Done {
    let mut command = cl_run(home, &[&["--run", run, "plan.toml"], args].concat());
    command.current_dir(repository);
    finish(command, b"")
}

#[test]
fn made_used_again_and_taken_back() {
    let home = scratch();
    let repository = repository(home.path());
    let plan = "name = 'w'\njobs = 3\n[defaults]\nworktree = true\n[stream.a]\nrun = ['sh', '-c', 'pwd; git branch --show-current; touch work']\n\
         [stream.b]\nbranch = 'topic'\nrun = ['touch', '{{worktree}}/made']\nundo = ['git', 'worktree', 'remove', '--force', '{{worktree}}']\n\
         [stream.c]\nafter = ['b']\nrun = ['false']\n";
    std::fs::write(repository.join("plan.toml"), plan).unwrap();
    let done = run(home.path(), &repository, "one", &["--undo"]).exits(1);
    let tree = home.path().join("shop.worktrees/cl/w/a").canonicalize().unwrap();
    assert_eq!(
        said(&done.out),
        [format!("a: {}", tree.display()), "a: cl/w/a".to_owned()]
    );
    assert!(!home.path().join("shop.worktrees/topic").exists(), "{}", done.err);
    // What is there is used again, with the work that it holds, and a branch that is there as well.
    let again = run(home.path(), &repository, "two", &[]).exits(1);
    assert_eq!(said(&again.out), said(&done.out));
    assert!(tree.join("work").exists() && home.path().join("shop.worktrees/topic/made").exists());
}

/// Many at once in one repository: git's own locks do not wait, ours do.
#[test]
fn many_at_once() {
    let home = scratch();
    let repository = repository(home.path());
    let streams: String = (0..8).map(|n| format!("[stream.s{n}]\nrun = ['pwd']\n")).collect();
    let plan = format!("name = 'm'\njobs = 8\n[defaults]\nworktree = true\n{streams}");
    std::fs::write(repository.join("plan.toml"), plan).unwrap();
    let done = run(home.path(), &repository, "one", &[]).exits(0);
    assert_eq!(said(&done.out).len(), 8);
}

/// What was left over is told from what is in use: a folder that has gone, one that git was killed in, one that is
/// another's.
#[test]
fn stale_ones_are_made_anew_and_live_ones_waited_for() {
    let home = scratch();
    let repository = repository(home.path());
    let plan = "name = 's'\n[stream.a]\nworktree = true\nrun = ['sh', '-c', 'echo x >> file; wc -l < file']\n";
    std::fs::write(repository.join("plan.toml"), plan).unwrap();
    run(home.path(), &repository, "one", &[]).exits(0);
    let tree = home.path().join("shop.worktrees/cl/s/a");
    std::fs::remove_dir_all(&tree).unwrap();
    let done = run(home.path(), &repository, "two", &[]).exits(0);
    assert_eq!(said(&done.out), ["a: 1"], "made anew");
    std::fs::write(repository.join(".git/worktrees/a/locked"), "initializing\n").unwrap();
    let done = run(home.path(), &repository, "three", &[]).exits(0);
    assert_eq!(said(&done.out), ["a: 1"], "git had not finished it");
    // Another run is at work in it.
    let locks = repository.join(".git/cl-worktrees");
    let lock = std::fs::read_dir(&locks).unwrap().next().unwrap().unwrap().path();
    let held = std::fs::File::open(lock).unwrap();
    harmony::sys::fds::flock(&held, false).unwrap();
    let late = run(home.path(), &repository, "four", &["--max-time", "0.3s"]).exits(124);
    assert_eq!(outcomes(&late).len(), 0);
    drop(held);
    let done = run(home.path(), &repository, "five", &[]).exits(0);
    assert_eq!(said(&done.out), ["a: 2"], "used as it is");
    // A folder that is no worktree is left alone.
    let other = repository.join("plain");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("precious"), "p").unwrap();
    std::fs::write(repository.join("plan.toml"), plan.replace("true", "'plain'")).unwrap();
    let done = run(home.path(), &repository, "six", &[]).exits(1);
    assert!(
        done.err.contains("plain: there, but no worktree of git; move it away"),
        "{}",
        done.err
    );
    assert!(other.join("precious").exists());
}
