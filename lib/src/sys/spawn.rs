//! Starting a worker without copying ourselves: the child borrows our memory until its own program runs.
//!
//! A fork copies the page tables of a process only for `exec` to drop them at once, and each page that either writes to
//! meanwhile is copied as well. The child made here (`clone` with `CLONE_VM` and `CLONE_VFORK`, as `posix_spawn` does)
//! shares everything while we stand still, so it does nothing but system calls on what was prepared before.

use super::process::{default_action, on_parent_death};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

/// What to start, and with what.
#[derive(Debug)]
pub struct Launch {
    /// The program and its arguments; the program is looked for on PATH.
    pub argv: Vec<OsString>,
    /// Changes to the environment: `None` removes.
    pub env: Vec<(OsString, Option<OsString>)>,
    /// Where it runs.
    pub cwd: Option<std::path::PathBuf>,
    /// Its niceness.
    pub nice: i32,
    /// Its stdin.
    pub stdin: OwnedFd,
    /// Its stdout.
    pub stdout: OwnedFd,
    /// Its stderr.
    pub stderr: OwnedFd,
}

/// So much of a stack is enough for a handful of system calls.
const STACK: usize = 32 << 10;

/// Where programs are looked for when there is no PATH.
const PATH: &str = "/bin:/usr/bin";

/// All that the child needs, in the form that the system takes.
struct Prepared {
    /// The files that may be the program, in the order in which they are tried.
    files: Vec<CString>,
    /// A place for a shell, which runs a script that does not say what runs it, and the program's own arguments.
    args: Vec<*const c_char>,
    /// The environment.
    vars: Vec<*const c_char>,
    /// What those two lead to.
    #[expect(dead_code, reason = "it is only to live as long")]
    texts: [Vec<CString>; 2],
    cwd: Option<CString>,
    nice: i32,
    fds: [OwnedFd; 3],
    parent: Pid,
    /// Why it did not come about.
    error: c_int,
}

impl Launch {
    /// Starts it: in a process group of its own, with signals that do what they do by default, and that it dies by
    /// SIGKILL if we do.
    ///
    /// # Errors
    /// When there is no such program or folder, it cannot be run, or no process can be made; or a name holds a zero.
    pub fn start(self) -> io::Result<Pid> {
        self.prepare()?.start()
    }

    fn prepare(self) -> io::Result<Prepared> {
        let program = self.argv.first().ok_or(Errno::ENOENT)?;
        let path = match self.change(OsStr::new("PATH")) {
            Some(changed) => changed.map(OsStr::to_owned),
            None => std::env::var_os("PATH"),
        };
        let files = files(program, path.as_deref())?;
        let argv: Vec<CString> = self.argv.iter().map(c_string).collect::<io::Result<_>>()?;
        let changed = self.changed()?;
        let kept = inherited().filter(|text| self.change(name(text)).is_none());
        let vars = kept.map(CStr::as_ptr).chain(pointers(&changed)).collect();
        let cwd = self.cwd.map(|cwd| c_string(cwd.as_os_str())).transpose()?;
        let [stdin, stdout, stderr] = [self.stdin, self.stdout, self.stderr].map(off_the_standard);
        Ok(Prepared {
            files,
            args: [ptr::null()].into_iter().chain(pointers(&argv)).collect(),
            vars,
            texts: [argv, changed],
            cwd,
            nice: self.nice,
            fds: [stdin?, stdout?, stderr?],
            parent: nix::unistd::getpid(),
            error: 0,
        })
    }

    /// What becomes of a variable of the environment, where anything does; of several changes the last counts.
    fn change(&self, name: &OsStr) -> Option<Option<&OsStr>> {
        let change = self.env.iter().rev().find(|(changed, _)| changed == name);
        change.map(|(_, value)| value.as_deref())
    }

    /// The variables that are not as in our own environment.
    fn changed(&self) -> io::Result<Vec<CString>> {
        let mut all = Vec::with_capacity(self.env.len());
        for (at, (name, value)) in self.env.iter().enumerate() {
            let again = self.env[at + 1..].iter().any(|(later, _)| later == name);
            if let Some(value) = value.as_ref().filter(|_| !again) {
                all.push(variable(name, value)?);
            }
        }
        Ok(all)
    }
}

unsafe extern "C" {
    /// Pointers to our variables, and a null pointer behind them.
    static environ: *const *const c_char;
}

/// Our own environment, as NAME=VALUE.
fn inherited() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: whoever starts a process may read it. Our programs change nothing in it, so it is as it was given to us
    // for as long as we run.
    let at = move |place: usize| unsafe {
        let text = *environ.add(place);
        (!text.is_null()).then(|| CStr::from_ptr(text))
    };
    // SAFETY: as above.
    let is_there = unsafe { !environ.is_null() };
    (0..).map_while(move |place| is_there.then(|| at(place)).flatten())
}

/// The name of a variable. One may begin with `=`.
fn name(variable: &CStr) -> &OsStr {
    let text = variable.to_bytes();
    let end = text
        .iter()
        .skip(1)
        .position(|&byte| byte == b'=')
        .map_or(text.len(), |at| at + 1);
    OsStr::from_bytes(&text[..end])
}

fn variable(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    let mut text = OsString::with_capacity(name.len() + value.len() + 2);
    text.extend([name, OsStr::new("="), value]);
    CString::new(text.into_vec()).map_err(|_| Errno::EINVAL.into())
}

/// Which files a program's name may mean.
fn files(program: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    if program.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let folders = path.unwrap_or(OsStr::new(PATH)).as_bytes().split(|&byte| byte == b':');
    folders
        .map(|folder| {
            let parts: [&[u8]; 3] = match folder {
                // As ever, none is the current one.
                [] => [b"", b"", program.as_bytes()],
                [.., b'/'] => [folder, b"", program.as_bytes()],
                folder => [folder, b"/", program.as_bytes()],
            };
            c_string(OsStr::from_bytes(&parts.concat()))
        })
        .collect()
}

/// A descriptor that none of the standard ones is put upon.
fn off_the_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fd.try_clone() }
}

fn pointers(texts: &[CString]) -> impl Iterator<Item = *const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()])
}

fn c_string(text: &(impl AsRef<OsStr> + ?Sized)) -> io::Result<CString> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| Errno::EINVAL.into())
}

impl Prepared {
    fn start(&mut self) -> io::Result<Pid> {
        let pid = self.make()?;
        if self.error == 0 {
            return Ok(pid);
        }
        while nix::sys::wait::waitpid(pid, None) == Err(Errno::EINTR) {}
        Err(io::Error::from_raw_os_error(self.error))
    }

    fn make(&mut self) -> nix::Result<Pid> {
        // Of 16 bytes each, as the stack has to be aligned.
        let mut stack: Vec<u128> = Vec::with_capacity(STACK / 16);
        // A handler of ours shall not run in the child, on memory that is ours.
        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK)?;
        let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
        // SAFETY: the child has the stack for itself. It uses `self`, which nobody else does: with CLONE_VFORK we stand
        // still until it runs its program or has ended, and then it uses our memory no more.
        let pid = unsafe {
            libc::clone(
                child,
                top.cast(),
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                ptr::from_mut(self).cast(),
            )
        };
        let made = Errno::result(pid);
        before.thread_set_mask()?;
        made.map(Pid::from_raw)
    }

    /// What happens in the child: system calls only. Comes back where it did not come about.
    fn replace(&mut self) -> nix::Result<Infallible> {
        for (fd, to) in self.fds.iter().zip(0..) {
            // SAFETY: dup2 takes two integers; the descriptors that it replaces are the child's own.
            Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), to) })?;
        }
        nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // A background job of a shell script is born with INT and QUIT ignored; the stop ladder needs them. Rust's
        // programs ignore PIPE.
        for signal in [libc::SIGPIPE, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
            default_action(signal).map_err(|_| Errno::last())?;
        }
        if !on_parent_death(libc::SIGKILL, self.parent) {
            // It died just now, and would have taken us with it.
            return Err(Errno::ESRCH);
        }
        if self.nice != 0 {
            // SAFETY: setpriority takes three integers and touches no memory.
            // A niceness that is not permitted (below 0) leaves the worker as it is.
            unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) };
        }
        if let Some(cwd) = &self.cwd {
            // SAFETY: the text ends with a zero byte.
            Errno::result(unsafe { libc::chdir(cwd.as_ptr()) })?;
        }
        // Who starts a worker blocks signals, all of them just now, and a blocked one stays blocked in a new program.
        SigSet::empty().thread_set_mask()?;
        let mut said = Errno::ENOENT;
        for file in &self.files {
            // SAFETY: the lists end with a null pointer each, and all that they lead to lives as long as `self`.
            unsafe { libc::execve(file.as_ptr(), self.args.as_ptr().add(1), self.vars.as_ptr()) };
            let mut error = Errno::last();
            if error == Errno::ENOEXEC {
                // Neither a program nor a script that says what runs it: a shell does, as ever.
                let shell = c"/bin/sh".as_ptr();
                let first = self.args[1];
                (self.args[0], self.args[1]) = (shell, file.as_ptr());
                // SAFETY: as above.
                unsafe { libc::execve(shell, self.args.as_ptr(), self.vars.as_ptr()) };
                error = Errno::last();
                self.args[1] = first;
            }
            match error {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                // Another of that name may be one for us; else this is why not.
                Errno::EACCES => said = error,
                _ => return Err(error),
            }
        }
        Err(said)
    }
}

extern "C" fn child(prepared: *mut c_void) -> c_int {
    // SAFETY: it is what `start` gave, and its owner waits for us.
    let prepared = unsafe { &mut *prepared.cast::<Prepared>() };
    let Err(error) = prepared.replace();
    prepared.error = error as c_int;
    127
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::fs::{File, Permissions, create_dir, set_permissions, write};
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    /// What starts that command, and what it says.
    fn launch(argv: &[&str], env: &[(&str, Option<&str>)]) -> (Launch, File) {
        let null = || File::open("/dev/null").unwrap().into();
        let (said, stdout) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let launch = Launch {
            argv: argv.iter().map(OsString::from).collect(),
            env: env
                .iter()
                .map(|(name, value)| (name.into(), value.map(OsString::from)))
                .collect(),
            cwd: None,
            nice: 0,
            stdin: null(),
            stdout,
            stderr: null(),
        };
        (launch, said.into())
    }

    fn says(launch: (Launch, File)) -> io::Result<String> {
        let (launch, mut said) = launch;
        let pid = launch.start()?;
        let mut all = String::new();
        said.read_to_string(&mut all)?;
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 0));
        Ok(all)
    }

    fn error(launch: (Launch, File)) -> Option<i32> {
        says(launch).unwrap_err().raw_os_error()
    }

    #[test]
    fn a_program_with_arguments_and_an_environment() {
        assert_eq!(says(launch(&["printf", "%s|", "a b", ""], &[])).unwrap(), "a b||");
        let env = [
            ("A", Some("x=y")),
            ("HOME", None),
            ("B", Some("1")),
            ("B", Some("2")),
            ("C", Some("3")),
            ("C", None),
        ];
        let said = says(launch(&["sh", "-c", "echo $A ${HOME-none} $B ${C-none}; env"], &env)).unwrap();
        assert!(said.starts_with("x=y none 2 none\n"), "{said}");
        let path = format!("\nPATH={}\n", std::env::var("PATH").unwrap());
        assert!(said.contains(&path) && said.matches("\nB=").count() == 1, "{said}");
    }

    #[test]
    fn a_variable_ends_at_its_first_equals_sign() {
        for (text, is) in [
            (c"A=b=c", "A"),
            (c"A=", "A"),
            (c"A", "A"),
            (c"=A=b", "=A"),
            (c"=", "="),
            (c"", ""),
        ] {
            assert_eq!(name(text), is, "{text:?}");
        }
    }

    /// As `execvp` has it: the first that can be run, where there is none the reason, and scripts without a first line.
    #[test]
    fn what_is_found_on_the_path() {
        let home = tempfile::tempdir().unwrap();
        let file = |folder: &str, text: &str, mode: u32| {
            let folder = home.path().join(folder);
            let _ = create_dir(&folder);
            write(folder.join("it"), text).unwrap();
            set_permissions(folder.join("it"), Permissions::from_mode(mode)).unwrap();
        };
        file("shut", "#!/bin/sh\necho shut\n", 0o600);
        file("good", "#!/bin/sh\necho good $1\n", 0o700);
        file("bare", "echo bare $1\n", 0o700);
        file("last", "#!/bin/sh\necho last\n", 0o700);
        let path = |folders: &str| {
            let folder = |name: &str| home.path().join(name).display().to_string();
            folders.split(':').map(folder).collect::<Vec<_>>().join(":")
        };
        let run = |folders: &str| launch(&["it", "x"], &[("PATH", Some(&path(folders)))]);
        let files = |path: &str| files(OsStr::new("it"), Some(OsStr::new(path))).unwrap();
        assert_eq!(
            files(":/a:/b/::/c//:/"),
            [c"it", c"/a/it", c"/b/it", c"it", c"/c//it", c"/it"].map(CStr::to_owned)
        );
        assert_eq!(says(run("none:shut:good:last")).unwrap(), "good x\n");
        assert_eq!(says(run("bare:last")).unwrap(), "bare x\n");
        assert_eq!(error(run("none:shut")), Some(libc::EACCES));
        assert_eq!(error(run("none:good/it")), Some(libc::ENOENT));
        assert_eq!(error(launch(&["it"], &[("PATH", None)])), Some(libc::ENOENT));
        assert_eq!(says(launch(&["echo", "x"], &[("PATH", None)])).unwrap(), "x\n");
        assert_eq!(error(launch(&[""], &[])), Some(libc::ENOENT));
        assert_eq!(error(launch(&[], &[])), Some(libc::ENOENT));
        assert_eq!(error(launch(&["a\0b"], &[])), Some(libc::EINVAL));
        let (at, said) = launch(&["true"], &[]);
        let cwd = Some(home.path().join("no such"));
        assert_eq!(error((Launch { cwd, ..at }, said)), Some(libc::ENOENT));
    }

    /// The one that started it has died meanwhile, and cannot take it along any more.
    #[test]
    fn an_orphan_does_not_begin() {
        let mut prepared = launch(&["true"], &[]).0.prepare().unwrap();
        prepared.parent = nix::unistd::getppid();
        assert_eq!(prepared.start().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
