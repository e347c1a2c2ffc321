//! From the streams' files to stdout, in a thread of its own: a reader that is slow holds up nobody else.
//!
//! The files are the buffer. What a stream writes is there for good, and is passed on as fast as it is taken.

use crate::parked::Parked;
use harmony::line::{Name, Ts};
use harmony::sink::{Bell, Shared};
use harmony::source::{Intake, Out, Registry};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// How much is read at once.
const BLOCK: usize = 256 << 10;

/// How many files that do not grow any more may be watched yet. To let go of one takes the system long, on each processor,
/// and of many hardly longer.
const LET_GO: usize = 64;

/// How often to look, in milliseconds, where the system tells nobody of growth.
const LOOK: u16 = 25;

/// What the pump is told.
enum Order {
    /// A stream has begun, or has ended already.
    Begin {
        at: usize,
        name: String,
        file: Arc<File>,
        watch: Option<WatchDescriptor>,
    },
    /// Its file does not grow any more.
    End(usize),
}

/// What the pump tells.
pub enum Told {
    /// A stream waits for the end of a usage limit, or goes on.
    Parked { at: usize, parked: bool },
    /// All is passed on.
    Done,
    /// Nobody reads any more.
    ReaderGone,
    /// stdout failed.
    Failed(io::Error),
}

/// Our side of the pump.
pub struct Pump {
    orders: Option<Sender<Order>>,
    bell: Bell,
    told: Receiver<Told>,
    news: Bell,
    /// Wakes the pump when a file grows; `None` when the system watches no more of them.
    inotify: Option<Arc<Inotify>>,
    watches: HashMap<usize, WatchDescriptor>,
    /// Those that are of no use any more.
    useless: Vec<WatchDescriptor>,
}

impl Pump {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no stdout (`BrokenPipe`: no reader), or no descriptor left.
    pub fn start() -> io::Result<Self> {
        let stdout = Shared::stdout()?;
        let (orders, received) = channel();
        let (telling, told) = channel();
        let (bell, news) = (Bell::new()?, Bell::new()?);
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        let inotify = inotify.ok().map(Arc::new);
        let flow = Flow {
            orders: received,
            bell: bell.clone(),
            inotify: inotify.clone(),
            watched: HashMap::new(),
            open: HashMap::new(),
            registry: Registry::default(),
            out: Stdout(stdout),
            block: vec![0; BLOCK],
            parked: Parked::default(),
            teller: Teller {
                told: telling,
                news: news.clone(),
            },
        };
        std::thread::Builder::new().name("pump".to_owned()).spawn(move || {
            let teller = flow.teller.clone();
            teller.tell(match flow.run() {
                Ok(()) => Told::Done,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Told::ReaderGone,
                Err(error) => Told::Failed(error),
            });
        })?;
        Ok(Self {
            orders: Some(orders),
            bell,
            told,
            news,
            inotify,
            watches: HashMap::new(),
            useless: Vec::new(),
        })
    }

    /// What is readable when there is something to hear.
    pub fn news(&self) -> &Bell {
        &self.news
    }

    /// What the pump tells next.
    pub fn heard(&self) -> Option<Told> {
        self.news.hush();
        self.told.try_recv().ok()
    }

    /// A stream begins: what is in its file already is passed on with what is added to it, or with its end.
    pub fn begin(&mut self, at: usize, name: &str, file: Arc<File>) {
        let (name, watch) = (name.to_owned(), self.watch(at, &file));
        let watched = watch.is_some();
        let order = Order::Begin {
            at,
            name,
            file: file.clone(),
            watch,
        };
        self.tell(order, false);
        // It hears of lines that are yet to come, and need not be woken before.
        if !watched || file.metadata().is_ok_and(|data| data.len() > 0) {
            self.bell.ring();
        }
    }

    /// Nothing is added to a stream's file any more. One that has `told` its end has woken the pump by that.
    pub fn end(&mut self, at: usize, told: bool) {
        self.tell(Order::End(at), !told || self.inotify.is_none());
        self.useless.extend(self.watches.remove(&at));
        if let Some(inotify) = self.inotify.as_ref().filter(|_| self.useless.len() >= LET_GO) {
            // What it has told already stays told, and the rest is read without being told of.
            for watch in self.useless.drain(..) {
                let _ = inotify.rm_watch(watch);
            }
        }
    }

    /// No other stream begins; what is left is passed on.
    pub fn finish(&mut self) {
        self.orders = None;
        self.bell.ring();
    }

    fn tell(&self, order: Order, at_once: bool) {
        if let Some(orders) = &self.orders {
            // Where the pump has ended it has said why.
            let _ = orders.send(order);
        }
        if at_once {
            self.bell.ring();
        }
    }

    fn watch(&mut self, at: usize, file: &File) -> Option<WatchDescriptor> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = AddWatchFlags::IN_MODIFY;
        let Ok(watch) = self.inotify.as_ref()?.add_watch(path.as_str(), flags) else {
            // Too many are watched already: from now on all are looked at.
            self.inotify = None;
            return None;
        };
        // A file that grows once more is watched as it was.
        self.useless.retain(|useless| *useless != watch);
        self.watches.insert(at, watch);
        Some(watch)
    }
}

/// The pump's way to say something.
#[derive(Clone)]
struct Teller {
    told: Sender<Told>,
    news: Bell,
}

impl Teller {
    fn tell(&self, told: Told) {
        // Who does not listen any more need not know.
        let _ = self.told.send(told);
        self.news.ring();
    }
}

/// stdout, where every stream is wanted.
struct Stdout(Shared);

impl Out for Stdout {
    fn wants(&mut self, _: &str) -> bool {
        true
    }

    fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write(lines)
    }
}

/// A stream's file.
struct Followed {
    name: String,
    parked: bool,
    file: Arc<File>,
    offset: u64,
    intake: Intake,
    watch: Option<WatchDescriptor>,
}

/// The pump's own side.
struct Flow {
    orders: Receiver<Order>,
    bell: Bell,
    inotify: Option<Arc<Inotify>>,
    watched: HashMap<WatchDescriptor, usize>,
    open: HashMap<usize, Followed>,
    registry: Registry,
    out: Stdout,
    block: Vec<u8>,
    parked: Parked,
    teller: Teller,
}

impl Flow {
    fn run(mut self) -> io::Result<()> {
        loop {
            if !self.obey()? {
                return Ok(());
            }
            self.wait()?;
            self.bell.hush();
            for at in self.grown() {
                self.pass(at, false)?;
            }
        }
    }

    /// Does what was ordered; whether there may be more of it.
    fn obey(&mut self) -> io::Result<bool> {
        use std::sync::mpsc::TryRecvError;
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin { at, name, file, watch }) => {
                    let intake = Intake::new(Name::near(&name), format!("{name}.ndjson"), false, false);
                    match watch {
                        Some(watch) => drop(self.watched.insert(watch, at)),
                        None => self.inotify = None,
                    }
                    let followed = Followed {
                        name,
                        parked: false,
                        file,
                        offset: 0,
                        intake,
                        watch,
                    };
                    self.open.insert(at, followed);
                    // What was written before we looked is told to nobody.
                    self.pass(at, false)?;
                }
                Ok(Order::End(at)) => {
                    self.pass(at, true)?;
                    if let Some(watch) = self.open.remove(&at).and_then(|ended| ended.watch) {
                        self.watched.remove(&watch);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Waits for orders, for growth, or for the reader's end.
    fn wait(&self) -> io::Result<()> {
        // An error or a hang-up is told without being asked for.
        let mut fds = vec![
            PollFd::new(self.out.0.fd(), PollFlags::empty()),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = match &self.inotify {
            Some(inotify) => {
                fds.push(PollFd::new(inotify.as_fd(), PollFlags::POLLIN));
                PollTimeout::NONE
            }
            None if self.open.is_empty() => PollTimeout::NONE,
            None => LOOK.into(),
        };
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        match fds[0].revents() {
            Some(events) if events.intersects(gone) => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }

    /// The streams whose files have grown, in the order in which they did.
    fn grown(&self) -> Vec<usize> {
        let Some(inotify) = &self.inotify else {
            return self.open.keys().copied().collect();
        };
        let mut grown = Vec::new();
        while let Ok(events) = inotify.read_events() {
            if events.is_empty() {
                break;
            }
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    return self.open.keys().copied().collect();
                }
                let at = self.watched.get(&event.wd).copied();
                grown.extend(at.filter(|at| grown.last() != Some(at)));
            }
        }
        grown
    }

    /// Passes on the whole lines that a stream has; all there is when it has ended.
    fn pass(&mut self, at: usize, ended: bool) -> io::Result<()> {
        let Some(stream) = self.open.get_mut(&at) else {
            return Ok(());
        };
        let (registry, out) = (&mut self.registry, &mut self.out);
        loop {
            let count = match stream.file.read_at(&mut self.block, stream.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What cannot be read is missing, and that is told as an end without `exit`.
                Err(_) => 0,
                Ok(count) => count,
            };
            let read = &self.block[..count];
            let whole = memchr::memrchr(b'\n', read).map_or(0, |feed| feed + 1);
            if whole > 0 {
                // First what others wait for: the reader of the lines may take its time.
                self.parked.look(&read[..whole]);
                let parked = self.parked.is(&stream.name);
                if std::mem::replace(&mut stream.parked, parked) != parked {
                    self.teller.tell(Told::Parked { at, parked });
                }
                stream.intake.lines(&read[..whole], Ts::now(), registry, out)?;
                stream.offset += whole as u64;
            } else if count == self.block.len() {
                // A line that is longer.
                self.block.resize(2 * count, 0);
            } else {
                if ended && count > 0 {
                    stream.intake.tail(read, Ts::now(), registry, out)?;
                }
                break;
            }
        }
        if self.block.len() > 16 * BLOCK {
            self.block = vec![0; BLOCK];
        }
        match ended {
            true => stream.intake.end(None, Ts::now(), registry, out),
            false => Ok(()),
        }
    }
}
