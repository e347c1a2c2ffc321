//! The bytes that not every sink has taken yet: one buffer for all of them, so that nothing is copied per sink.

/// A stretch of the stream in memory, addressed by offsets from the stream's beginning.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// The offset of the first byte of the buffer.
    base: u64,
    /// How much of the buffer is filled.
    end: usize,
    /// Up to which offset nobody needs the bytes any more.
    kept: u64,
}

impl Window {
    /// An empty window; it grows with how far the slowest reader is behind.
    pub fn new() -> Self {
        Self::default()
    }

    /// The offset behind the last byte.
    pub fn head(&self) -> u64 {
        self.base + self.end as u64
    }

    /// The bytes from an offset on.
    pub fn since(&self, offset: u64) -> &[u8] {
        &self.bytes[(offset - self.base) as usize..self.end]
    }

    /// Says that nobody needs what stands before this offset.
    pub fn release(&mut self, offset: u64) {
        self.kept = offset;
        if offset == self.head() {
            // The next read lands on the same bytes, which are in the cache.
            self.base = offset;
            self.end = 0;
        }
    }

    /// Room for the next read, at most `most` bytes.
    pub fn space(&mut self, most: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < most {
            let from = (self.kept - self.base) as usize;
            self.bytes.copy_within(from..self.end, 0);
            self.base = self.kept;
            self.end -= from;
            // Twice what is kept: then each byte is moved only once or twice, however long somebody is behind.
            let wanted = 2 * (self.end + most);
            if self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
        }
        let until = self.bytes.len().min(self.end + most);
        &mut self.bytes[self.end..until]
    }

    /// Says that a read put `count` bytes into [`Window::space`].
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "more bytes than there was space for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_outlive_the_moves() {
        let mut window = Window::new();
        let mut kept = 0;
        for (i, byte) in (b'a'..=b'z').enumerate() {
            window.space(1)[0] = byte;
            window.filled(1);
            assert_eq!(window.head(), i as u64 + 1);
            assert_eq!(window.since(window.head() - 1), [byte]);
            // A laggard seven bytes behind.
            kept = window.head().saturating_sub(7).max(kept);
            window.release(kept);
            assert_eq!(window.since(kept)[0], b'a' + kept as u8);
        }
        window.release(26);
        assert!(window.since(26).is_empty());
        assert_eq!(window.space(8).len(), 8);
    }
}
