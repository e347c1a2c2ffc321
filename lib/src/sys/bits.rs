//! Looking at 64 bytes at once.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set1_epi8, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_slli_epi16,
    _mm256_sub_epi8,
};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_epi8, _mm512_movepi8_mask,
    _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8, _mm512_test_epi8_mask,
};

/// Which of 64 bytes are what, a bit for each, the first byte's the lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Masks {
    /// Which of the 64 there are: the first of them.
    pub valid: u64,
    /// `"` that opens or closes a string.
    pub quote: u64,
    /// From each opening quote to before the closing one.
    pub inside: u64,
    /// What stands behind a backslash that is none itself.
    pub escaped: u64,
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
    /// `l`
    pub ell: u64,
}

/// What was met among all bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// A byte below a space.
    pub control: bool,
    /// A byte beyond ASCII.
    pub beyond: bool,
    /// A string that did not end.
    pub open: bool,
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
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("pclmulqdq")
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            // SAFETY: this machine has been asked whether it has what the function needs.
            return Some(unsafe { avx512(bytes, see) });
        }
        // SAFETY: as above.
        return Some(unsafe { avx2(bytes, see) });
    }
    let _ = (bytes, see);
    None
}

/// Cuts bytes into 64 and 64, the last of which are met once more where they are fewer: then a number says how many
/// of them were seen.
#[cfg(target_arch = "x86_64")]
macro_rules! in_chunks {
    ($bytes:ident, $see:ident, $wide:ident) => {
        let (chunks, rest) = $bytes.as_chunks::<64>();
        for chunk in chunks {
            $see.see($wide.masks::<false>(chunk, 0));
        }
        if !rest.is_empty() {
            // Cheaper than a copy.
            let mut short = [0; 64];
            let chunk = $bytes.last_chunk::<64>().unwrap_or_else(|| {
                short = [b' '; 64];
                short[64 - rest.len()..].copy_from_slice(rest);
                &short
            });
            $see.see($wide.masks::<true>(chunk, 64 - rest.len()));
        }
    };
}

/// With 32 bytes an instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
fn avx2(bytes: &[u8], see: &mut impl See) -> Met {
    let mut wide = Wide::new();
    in_chunks!(bytes, see, wide);
    wide.met()
}

/// With 64 bytes an instruction, which gives a mask at once.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,popcnt,pclmulqdq")]
fn avx512(bytes: &[u8], see: &mut impl See) -> Met {
    let mut wide = Wider::default();
    in_chunks!(bytes, see, wide);
    wide.met()
}

/// Where strings begin and end, from one 64 bytes to the next.
#[cfg(target_arch = "x86_64")]
#[derive(Default)]
struct Strings {
    /// All bits set inside a string.
    inside: u64,
    /// 1 when the next character is escaped.
    escaped: u64,
}

#[cfg(target_arch = "x86_64")]
impl Strings {
    /// From backslashes and quotes: which quotes count, what is inside of strings, and what is escaped.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn next(&mut self, backslash: u64, quote: u64) -> (u64, u64, u64) {
        let (escaped, carry) = escapes(backslash, self.escaped);
        let quote = quote & !escaped;
        // A product without carries, with all bits set: each bit becomes the parity of all bits up to it.
        let parity = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(quote as i64), _mm_set1_epi8(-1));
        let inside = _mm_cvtsi128_si64(parity) as u64 ^ self.inside;
        (self.inside, self.escaped) = (((inside as i64) >> 63) as u64, carry);
        (quote, inside, escaped)
    }
}

/// What goes on from one 64 bytes to the next.
#[cfg(target_arch = "x86_64")]
struct Wide {
    /// The least of all bytes, and all bits of all bytes, in each lane.
    least: __m256i,
    any: __m256i,
    strings: Strings,
}

#[cfg(target_arch = "x86_64")]
impl Wide {
    #[inline]
    #[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
    fn new() -> Self {
        Self {
            least: _mm256_set1_epi8(b' ' as i8),
            any: _mm256_set1_epi8(0),
            strings: Strings::default(),
        }
    }

    /// The masks of 64 bytes; where it is the `LAST`, without the first `seen` of them.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
    fn masks<const LAST: bool>(&mut self, chunk: &[u8; 64], seen: usize) -> Masks {
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let (halves, _) = chunk.as_chunks::<32>();
        // SAFETY: a load from any address, of the 32 bytes that are borrowed.
        let [low, high] = [0, 1].map(|i| unsafe { _mm256_loadu_si256(halves[i].as_ptr().cast::<__m256i>()) });
        let both = |hit: &dyn Fn(__m256i) -> __m256i| {
            let bits = |half| u64::from(_mm256_movemask_epi8(hit(half)) as u32);
            let bits = bits(low) | bits(high) << 32;
            if LAST { bits >> seen } else { bits }
        };
        let is = |byte| both(&|half| _mm256_cmpeq_epi8(half, all(byte)));
        let at_most = |most, half| _mm256_cmpeq_epi8(_mm256_min_epu8(half, all(most)), half);
        // One bit parts '[' from '{' and ']' from '}'.
        let bracket = |byte| both(&|half| _mm256_cmpeq_epi8(_mm256_or_si256(half, all(0x20)), all(byte)));

        let (quote, inside, escaped) = self.strings.next(is(b'\\'), is(b'"'));
        self.least = _mm256_min_epu8(self.least, _mm256_min_epu8(low, high));
        self.any = _mm256_or_si256(self.any, _mm256_or_si256(low, high));
        Masks {
            valid: if LAST { u64::MAX >> seen } else { u64::MAX },
            quote,
            inside,
            escaped,
            open: bracket(b'{'),
            close: bracket(b'}'),
            // That bit is brought to where a mask is taken.
            curly: both(&|half| _mm256_slli_epi16::<2>(half)),
            colon: is(b':'),
            comma: is(b','),
            blank: both(&|half| at_most(b' ', half)),
            digit: both(&|half| at_most(9, _mm256_sub_epi8(half, all(b'0')))),
            zero: is(b'0'),
            ell: is(b'l'),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,bmi1,popcnt,pclmulqdq")]
    fn met(&self) -> Met {
        let no_less = _mm256_cmpeq_epi8(self.least, _mm256_set1_epi8(b' ' as i8));
        Met {
            control: _mm256_movemask_epi8(no_less) != -1,
            beyond: _mm256_movemask_epi8(self.any) != 0,
            open: self.strings.inside != 0,
        }
    }
}

/// The same with twice the width. Nothing so wide is kept from one 64 bytes to the next: whoever looks at the masks calls
/// functions, and what is kept would be written and read for each, mostly across two lines of the cache.
#[cfg(target_arch = "x86_64")]
#[derive(Default)]
struct Wider {
    control: u64,
    beyond: u64,
    strings: Strings,
}

#[cfg(target_arch = "x86_64")]
impl Wider {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,popcnt,pclmulqdq")]
    fn masks<const LAST: bool>(&mut self, chunk: &[u8; 64], seen: usize) -> Masks {
        let all = |byte: u8| _mm512_set1_epi8(byte as i8);
        // SAFETY: a load from any address, of the 64 bytes that are borrowed.
        let bytes = unsafe { _mm512_loadu_epi8(chunk.as_ptr().cast()) };
        let cut = |bits: u64| if LAST { bits >> seen } else { bits };
        let is = |byte| cut(_mm512_cmpeq_epi8_mask(bytes, all(byte)));
        let curled = _mm512_or_si512(bytes, all(0x20));
        let bracket = |byte| cut(_mm512_cmpeq_epi8_mask(curled, all(byte)));
        let (quote, inside, escaped) = self.strings.next(is(b'\\'), is(b'"'));
        self.control |= _mm512_cmplt_epu8_mask(bytes, all(b' '));
        self.beyond |= _mm512_movepi8_mask(bytes);
        Masks {
            valid: cut(u64::MAX),
            quote,
            inside,
            escaped,
            open: bracket(b'{'),
            close: bracket(b'}'),
            curly: cut(_mm512_test_epi8_mask(bytes, all(0x20))),
            colon: is(b':'),
            comma: is(b','),
            blank: cut(_mm512_cmple_epu8_mask(bytes, all(b' '))),
            digit: cut(_mm512_cmple_epu8_mask(_mm512_sub_epi8(bytes, all(b'0')), all(9))),
            zero: is(b'0'),
            ell: is(b'l'),
        }
    }

    #[inline]
    fn met(&self) -> Met {
        Met {
            control: self.control != 0,
            beyond: self.beyond != 0,
            open: self.strings.inside != 0,
        }
    }
}

/// Which characters a backslash before them escapes, and whether the first of the next 64 is; `carry` is 1 when the
/// first of these is.
#[inline(always)]
fn escapes(backslash: u64, carry: u64) -> (u64, u64) {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !carry;
    let follows = backslash << 1 | carry;
    // In a run of backslashes every second one is escaped itself; an addition finds where runs end.
    let odd_starts = backslash & !EVEN & !follows;
    let (ends, over) = odd_starts.overflowing_add(backslash);
    ((EVEN ^ (ends << 1)) & follows, u64::from(over))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same the plain way.
    fn plain(bytes: &[u8]) -> (Vec<Masks>, Met) {
        let (mut in_string, mut after_backslash) = (false, false);
        let strings: Vec<(bool, bool, bool)> = bytes
            .iter()
            .map(|&byte| {
                let escaped = after_backslash;
                after_backslash = byte == b'\\' && !escaped;
                let quote = byte == b'"' && !escaped;
                in_string ^= quote;
                (quote, in_string, escaped)
            })
            .collect();
        let masks = bytes.chunks(64).zip(strings.chunks(64)).map(|(chunk, strings)| {
            let bits = |is: fn(u8) -> bool| {
                let each = chunk.iter().enumerate();
                each.fold(0, |bits, (i, &byte)| bits | u64::from(is(byte)) << i)
            };
            let strings = strings.iter().enumerate().fold((0, 0, 0), |bits, (i, it)| {
                let bit = |it| u64::from(it) << i;
                (bits.0 | bit(it.0), bits.1 | bit(it.1), bits.2 | bit(it.2))
            });
            // What lies behind the end says nothing.
            Masks {
                valid: bits(|_| true),
                quote: strings.0,
                inside: strings.1,
                escaped: strings.2,
                open: bits(|b| b | 0x20 == b'{'),
                close: bits(|b| b | 0x20 == b'}'),
                curly: bits(|b| b & 0x20 != 0),
                colon: bits(|b| b == b':'),
                comma: bits(|b| b == b','),
                blank: bits(|b| b <= b' '),
                digit: bits(|b| b.is_ascii_digit()),
                zero: bits(|b| b == b'0'),
                ell: bits(|b| b == b'l'),
            }
        });
        let masks = masks.collect();
        let met = Met {
            control: bytes.iter().any(|b| *b < b' '),
            beyond: !bytes.is_ascii(),
            open: in_string,
        };
        (masks, met)
    }

    struct All(Vec<Masks>);

    impl See for All {
        fn see(&mut self, masks: Masks) {
            self.0.push(masks);
        }
    }

    /// With half the width, the way of machines that have no more, it is the same.
    #[cfg(target_arch = "x86_64")]
    fn narrower(bytes: &[u8], seen: &All, met: Met) {
        let mut again = All(Vec::new());
        // SAFETY: `fold` has asked for it.
        let met_again = unsafe { avx2(bytes, &mut again) };
        assert_eq!((&again.0, met_again), (&seen.0, met));
    }

    #[test]
    fn every_byte_in_every_place() {
        for length in [0, 1, 63, 64, 65, 130] {
            for (byte, place) in (0..=255u8).flat_map(|byte| (0..length).map(move |place| (byte, place))) {
                let mut bytes = vec![b'a'; length];
                if let Some(last) = bytes.len().checked_sub(2) {
                    bytes[last] = b'"';
                }
                bytes[place] = byte;
                let mut seen = All(Vec::new());
                let Some(met) = fold(&bytes, &mut seen) else {
                    return;
                };
                #[cfg(target_arch = "x86_64")]
                narrower(&bytes, &seen, met);
                if let Some(last) = seen.0.last_mut().filter(|_| length % 64 != 0) {
                    // An open string, or a backslash, reaches beyond the end.
                    let valid = (1 << (length % 64)) - 1;
                    last.inside &= valid;
                    last.escaped &= valid;
                }
                assert_eq!((seen.0, met), plain(&bytes), "{byte} at {place} of {length}");
            }
        }
    }
}
