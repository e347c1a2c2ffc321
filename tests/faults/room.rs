//! Small disks, where this machine lets us mount some: full soon, as a large one is one day.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says where the disks are, to the one of us that sees them.
const ROOMS: &str = "CL_FAULTS_ROOMS";

/// Makes so many, in this folder; none where that is not possible.
///
/// Only a process in a name space of its own may mount them: this one then begins anew in such a one.
pub fn rooms(folder: &Path, count: usize) -> Vec<PathBuf> {
    let rooms: Vec<PathBuf> = (0..count).map(|number| folder.join(format!("room{number}"))).collect();
    for room in &rooms {
        std::fs::create_dir_all(room).expect("makes a folder");
    }
    if std::env::var_os(ROOMS).is_some() {
        return rooms;
    }
    let mount = rooms
        .iter()
        .map(|room| format!("mount -t tmpfs -o size=64k none '{}' && ", room.display()));
    let script = mount.collect::<String>() + "exec \"$@\"";
    let inside = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script, "sh"]).args(program);
        command
    };
    let tried = inside(&["true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("faults: no small disk can be mounted here; files are limited in size instead");
        return Vec::new();
    }
    let ourselves = std::env::current_exe().expect("is a program");
    let mut command = inside(&[]);
    let error = command
        .arg(ourselves)
        .args(std::env::args_os().skip(1))
        .env(ROOMS, "1")
        .exec();
    panic!("unshare: {error}");
}
