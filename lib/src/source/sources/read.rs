//! Reading one source: what comes is cut into whole lines.

use super::{BLOCK, FULL, Id, SHORT, Sources, Todo, Told, WIDENED};
use crate::line::PREFIX;
use crate::source::input::Got;

/// What one look at a source gave.
pub(super) enum Read {
    Told(Told),
    /// Nothing to tell yet, and there may be more at once.
    More,
    /// Nothing for now.
    Over,
}

impl Sources {
    pub(super) fn read_file(&mut self, at: usize) -> Option<Told> {
        match self.read(self.files[at], true) {
            Read::Told(told) => Some(told),
            Read::More => None,
            // It stands in line no more, until more is heard of it.
            Read::Over => {
                self.files.remove(at);
                None
            }
        }
    }

    pub(super) fn read(&mut self, id: Id, hung_up: bool) -> Read {
        let source = &mut self.list[id];
        let Some(input) = source.input.as_mut() else {
            return Read::Over;
        };
        let head = if source.carry.len() <= SHORT && !source.over_long {
            source.carry.len()
        } else {
            0
        };
        self.block[..head].copy_from_slice(&source.carry[..head]);
        let count = match input.read(&mut self.block[head..]) {
            Ok(Got::Bytes(count)) => {
                if count >= FULL && !source.widened && !source.regular && self.widened < WIDENED {
                    (source.widened, self.widened) = (true, self.widened + 1);
                    input.widen(BLOCK as i32);
                }
                count
            }
            Ok(Got::Nothing) => return Read::Over,
            // A FIFO without a writer reads as ended also before the first writer came; only then it has hung up.
            Ok(Got::End) if input.fifo && !hung_up => return Read::Over,
            Ok(Got::End) => return if self.at_end(id) { Read::More } else { Read::Over },
            Err(error) => {
                self.todo.push_back(Todo::Failed(source.shown.clone(), error));
                self.leave(id);
                return Read::Over;
            }
        };
        let fresh = &self.block[head..head + count];
        if source.over_long {
            let feed = memchr::memchr(b'\n', fresh);
            source.carry.extend_from_slice(&fresh[..feed.unwrap_or(count)]);
            let Some(feed) = feed else {
                return self.piece(id);
            };
            self.long = std::mem::replace(&mut source.carry, fresh[feed + 1..].to_vec());
            source.over_long = false;
            if memchr::memchr(b'\n', &source.carry).is_some() {
                self.todo.push_front(Todo::Carried(id));
            }
            return Read::Told(Told::Piece(id, true, true));
        }
        let Some(feed) = memchr::memrchr(b'\n', fresh) else {
            source.carry.extend_from_slice(fresh);
            return self.piece(id);
        };
        let (whole, rest) = fresh.split_at(feed + 1);
        if head == source.carry.len() {
            let length = head + whole.len();
            source.carry.clear();
            source.carry.extend_from_slice(rest);
            // A thousand sources may not each keep what one long line needed.
            if source.carry.capacity() > rest.len() + SHORT / 4 {
                source.carry.shrink_to_fit();
            }
            return Read::Told(Told::Block(id, 0..length));
        }
        source.carry.extend_from_slice(whole);
        self.long = std::mem::replace(&mut source.carry, rest.to_vec());
        Read::Told(Told::Long(id))
    }

    /// Gives out a piece when the carry has grown over the cap.
    fn piece(&mut self, id: Id) -> Read {
        let source = &mut self.list[id];
        // A line of the stream is longer than the worker's line in it, by escapes at most.
        let cap = if source.carry.starts_with(PREFIX) {
            self.cap.saturating_mul(8)
        } else {
            self.cap
        };
        if source.carry.len() <= cap {
            return Read::More;
        }
        let cut = crate::frame::char_boundary(&source.carry, cap);
        let rest = source.carry.split_off(cut);
        self.long = std::mem::replace(&mut source.carry, rest);
        source.over_long = true;
        Read::Told(Told::Piece(id, false, false))
    }

    pub(super) fn take_carried(&mut self, id: Id) {
        let source = &mut self.list[id];
        let end = memchr::memrchr(b'\n', &source.carry).map_or(0, |at| at + 1);
        let rest = source.carry.split_off(end);
        self.long = std::mem::replace(&mut source.carry, rest);
    }
}
