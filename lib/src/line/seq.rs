//! Noticing holes in a stream's numbers.

/// Numbers that are missing, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The first one missing.
    pub from: u64,
    /// The last one missing.
    pub to: u64,
}

impl Hole {
    /// How many are missing.
    pub fn lost(&self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }
}

/// The numbers of one stream as one reader sees them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequence {
    last: Option<u64>,
}

impl Sequence {
    /// Takes the next line's number; says what is missing before it.
    ///
    /// A stream may be joined midway: what came before the first line seen is not missing. A number that goes back is
    /// another stream of the same name, or the same file again, and begins anew.
    pub fn see(&mut self, seq: u64) -> Option<Hole> {
        let hole = match self.last {
            Some(last) if seq > last.saturating_add(1) => Some(Hole {
                from: last + 1,
                to: seq - 1,
            }),
            _ => None,
        };
        self.last = Some(seq);
        hole
    }

    /// Takes a `gap` event's range: its lines are missing, and that has been said.
    pub fn told(&mut self, to: u64) {
        self.last = Some(self.last.map_or(to, |last| last.max(to)));
    }

    /// The last number seen; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.see(5), None);
        assert_eq!(sequence.see(6), None);
        assert_eq!(sequence.see(9), Some(Hole { from: 7, to: 8 }));
        sequence.told(12);
        assert_eq!(sequence.see(13), None);
        assert_eq!(sequence.see(1), None);
        assert_eq!(sequence.see(3).map(|h| h.lost()), Some(1));
        assert_eq!(sequence.last(), 3);
    }
}
