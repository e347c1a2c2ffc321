//! From the streams' files to stdout, in a thread of its own: a reader that is slow holds up nobody else.
//!
//! The files are the buffer. What a stream writes is there for good, and is passed on as fast as it is taken.

use crate::parked::Parked;
use harmony::line::{Name, Ts};
use harmony::sink::{Bell, Bells, Rope, Rung, Shared};
use harmony::source::{Intake, Out, Registry};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// How much is read at once.
const BLOCK: usize = 256 << 10;

/// The bell that is rung for orders; the others are those of the streams.
const ORDERS: i32 = -1;

/// What the pump is told.
enum Order {
    /// A stream has begun, or has ended already.
    Begin { at: usize, name: String, file: Arc<File> },
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
    rope: Rope,
    told: Receiver<Told>,
    news: Bell,
    /// Whether streams have ended, and nothing wakes the pump that it may see to that.
    ended: bool,
}

impl Pump {
    /// Starts the thread; gives what is rung by whoever has written to a stream's file, with the stream's number.
    ///
    /// # Errors
    /// When there is no stdout (`BrokenPipe`: no reader), or no descriptor left.
    pub fn start() -> io::Result<(Self, OwnedFd)> {
        let stdout = Shared::stdout()?;
        let (orders, received) = channel();
        let (telling, told) = channel();
        let news = Bell::new()?;
        let (bells, pipe) = Bells::new()?;
        let rope = Rope::new(pipe.try_clone()?, ORDERS);
        let flow = Flow {
            orders: received,
            bells,
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
        let pump = Self {
            orders: Some(orders),
            rope,
            told,
            news,
            ended: false,
        };
        Ok((pump, pipe))
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
        let name = name.to_owned();
        self.tell(Order::Begin { at, name, file });
        // The pump hears of all that was ordered with its first line, and need not be woken before.
        self.ended = false;
    }

    /// Nothing is added to a stream's file any more.
    pub fn end(&mut self, at: usize) {
        self.tell(Order::End(at));
        self.ended = true;
    }

    /// Nothing else is ordered for now.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.ended) {
            self.rope.ring();
        }
    }

    /// No other stream begins; what is left is passed on.
    pub fn finish(&mut self) {
        self.orders = None;
        self.rope.ring();
    }

    fn tell(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Where the pump has ended it has said why.
            let _ = orders.send(order);
        }
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
}

/// The pump's own side.
struct Flow {
    orders: Receiver<Order>,
    bells: Bells,
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
            self.wait()?;
            let rung = self.bells.rung();
            if !self.obey()? {
                return Ok(());
            }
            let written = match rung {
                Rung::These(numbers) => numbers.into_iter().flat_map(usize::try_from).collect(),
                Rung::Any => self.open.keys().copied().collect::<Vec<_>>(),
            };
            for at in written {
                self.pass(at, false)?;
            }
        }
    }

    /// Does what was ordered; whether there may be more of it.
    fn obey(&mut self) -> io::Result<bool> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin { at, name, file }) => {
                    let intake = Intake::new(Name::near(&name), format!("{name}.ndjson"), false, false);
                    let followed = Followed {
                        name,
                        parked: false,
                        file,
                        offset: 0,
                        intake,
                    };
                    self.open.insert(at, followed);
                }
                Ok(Order::End(at)) => {
                    self.pass(at, true)?;
                    self.open.remove(&at);
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Waits until something is written or ordered, or for the reader's end.
    fn wait(&self) -> io::Result<()> {
        // An error or a hang-up is told without being asked for.
        let mut fds = [
            PollFd::new(self.out.0.fd(), PollFlags::empty()),
            PollFd::new(self.bells.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        match fds[0].revents() {
            Some(events) if events.intersects(gone) => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
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
                // What is added behind it is told of.
                if !ended && whole == count && count < self.block.len() {
                    break;
                }
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
