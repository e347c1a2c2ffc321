//! Looking at 64 bytes at once.

/// Which of 64 bytes are what, a bit for each, the first byte's the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Masks {
    /// `"`
    pub quote: u64,
    /// `\`
    pub backslash: u64,
    /// `{` or `[`
    pub open: u64,
    /// `}` or `]`
    pub close: u64,
    /// Those of the two above that are curly, and other characters.
    pub curly: u64,
    /// `:`
    pub colon: u64,
    /// `,`
    pub comma: u64,
    /// A space, or what is below it.
    pub blank: u64,
    /// `0` to `9`
    pub digit: u64,
    /// `0`
    pub zero: u64,
}

impl Masks {
    /// Leaves out the first bytes.
    #[inline(always)]
    fn behind(self, seen: usize) -> Self {
        Self {
            quote: self.quote >> seen,
            backslash: self.backslash >> seen,
            open: self.open >> seen,
            close: self.close >> seen,
            curly: self.curly >> seen,
            colon: self.colon >> seen,
            comma: self.comma >> seen,
            blank: self.blank >> seen,
            digit: self.digit >> seen,
            zero: self.zero >> seen,
        }
    }
}

/// What was met among all bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// A byte below a space.
    pub control: bool,
    /// A byte beyond ASCII.
    pub beyond: bool,
}

/// What takes the masks of 64 bytes after the other.
pub trait See {
    /// Takes the next ones; behind the last byte nothing is set. To be marked `#[inline(always)]`: then it gets the
    /// machine's instructions, and a mask that it does not look at costs nothing.
    fn see(&mut self, masks: Masks);
}

/// Shows what matters to the structure of JSON, in 64 bytes after the other. `None`, and nothing was looked at, on a
/// machine that has no instructions for it.
#[inline]
pub fn fold(bytes: &[u8], see: &mut impl See) -> Option<Met> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: this machine has been asked whether it has what the function needs.
        return Some(unsafe { avx2(bytes, see) });
    }
    let _ = (bytes, see);
    None
}

/// With 32 bytes an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn avx2(bytes: &[u8], see: &mut impl See) -> Met {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8, _mm256_slli_epi16, _mm256_sub_epi8,
    };
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let look = |chunk: &[u8; 64], mut least: __m256i, mut any: __m256i| {
        let (halves, _) = chunk.as_chunks::<32>();
        let mut masks = Masks::default();
        for (i, half) in halves.iter().enumerate() {
            // SAFETY: a load from any address, of the 32 bytes that are borrowed.
            let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
            let bits = |hit| u64::from(_mm256_movemask_epi8(hit) as u32) << (32 * i);
            let is = |bytes, byte| bits(_mm256_cmpeq_epi8(bytes, all(byte)));
            let at_most = |bytes, most| bits(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, all(most)), bytes));
            // One bit parts '[' from '{' and ']' from '}'.
            let brackets = _mm256_or_si256(bytes, all(0x20));
            masks.quote |= is(bytes, b'"');
            masks.backslash |= is(bytes, b'\\');
            masks.open |= is(brackets, b'{');
            masks.close |= is(brackets, b'}');
            // That bit is brought where the mask is taken.
            masks.curly |= bits(_mm256_slli_epi16::<2>(bytes));
            masks.colon |= is(bytes, b':');
            masks.comma |= is(bytes, b',');
            masks.blank |= at_most(bytes, b' ');
            masks.digit |= at_most(_mm256_sub_epi8(bytes, all(b'0')), 9);
            masks.zero |= is(bytes, b'0');
            least = _mm256_min_epu8(least, bytes);
            any = _mm256_or_si256(any, bytes);
        }
        (masks, least, any)
    };
    let (mut least, mut any) = (all(b' '), all(0));
    let mut masks;
    let (chunks, rest) = bytes.as_chunks::<64>();
    for chunk in chunks {
        (masks, least, any) = look(chunk, least, any);
        see.see(masks);
    }
    if !rest.is_empty() {
        // The last 64 bytes once more, without those that were seen: cheaper than a copy.
        let mut short = [0; 64];
        let chunk = bytes.last_chunk::<64>().unwrap_or_else(|| {
            short = [b' '; 64];
            short[64 - rest.len()..].copy_from_slice(rest);
            &short
        });
        (masks, least, any) = look(chunk, least, any);
        see.see(masks.behind(64 - rest.len()));
    }
    Met {
        control: _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, all(b' '))) != -1,
        beyond: _mm256_movemask_epi8(any) != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same the plain way.
    fn plain(bytes: &[u8]) -> (Vec<Masks>, Met) {
        let masks = bytes.chunks(64).map(|chunk| {
            let bits = |is: fn(u8) -> bool| {
                let each = chunk.iter().enumerate();
                each.fold(0, |bits, (i, &byte)| bits | u64::from(is(byte)) << i)
            };
            Masks {
                quote: bits(|b| b == b'"'),
                backslash: bits(|b| b == b'\\'),
                open: bits(|b| b | 0x20 == b'{'),
                close: bits(|b| b | 0x20 == b'}'),
                curly: bits(|b| b & 0x20 != 0),
                colon: bits(|b| b == b':'),
                comma: bits(|b| b == b','),
                blank: bits(|b| b <= b' '),
                digit: bits(|b| b.is_ascii_digit()),
                zero: bits(|b| b == b'0'),
            }
        });
        let met = Met {
            control: bytes.iter().any(|b| *b < b' '),
            beyond: !bytes.is_ascii(),
        };
        (masks.collect(), met)
    }

    struct All(Vec<Masks>);

    impl See for All {
        fn see(&mut self, masks: Masks) {
            self.0.push(masks);
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for length in [0, 1, 63, 64, 65, 130] {
            for (byte, place) in (0..=255u8).flat_map(|byte| (0..length).map(move |place| (byte, place))) {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                let mut seen = All(Vec::new());
                let Some(met) = fold(&bytes, &mut seen) else {
                    return;
                };
                assert_eq!((seen.0, met), plain(&bytes), "{byte} at {place} of {length}");
            }
        }
    }
}
