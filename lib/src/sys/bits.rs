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
}

/// What was met among all bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// A byte below a space.
    pub control: bool,
    /// A byte beyond ASCII.
    pub beyond: bool,
}

/// Folds what matters to the structure of JSON, in 64 bytes after the other; behind the last byte nothing is set.
/// `None`, and nothing was looked at, on a machine that has no instructions for it.
#[inline]
pub fn fold<S: Copy>(bytes: &[u8], begin: S, see: impl Fn(S, Masks) -> S) -> Option<(S, Met)> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: this machine has been asked whether it has what the function needs.
        return Some(unsafe { avx2(bytes, begin, see) });
    }
    let _ = (bytes, begin, see);
    None
}

/// With 32 bytes an instruction; `see` becomes part of it, and so has the instructions for it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn avx2<S: Copy>(bytes: &[u8], begin: S, see: impl Fn(S, Masks) -> S) -> (S, Met) {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };
    let all = |byte: u8| _mm256_set1_epi8(byte as i8);
    let look = |chunk: &[u8; 64], mut least: __m256i, mut any: __m256i| {
        let (halves, _) = chunk.as_chunks::<32>();
        let mut masks = Masks::default();
        for (i, half) in halves.iter().enumerate() {
            // SAFETY: a load from any address, of the 32 bytes that are borrowed.
            let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
            let is = |bytes, byte| {
                let hit = _mm256_cmpeq_epi8(bytes, all(byte));
                u64::from(_mm256_movemask_epi8(hit) as u32) << (32 * i)
            };
            // One bit parts '[' from '{' and ']' from '}'.
            let brackets = _mm256_or_si256(bytes, all(0x20));
            masks.quote |= is(bytes, b'"');
            masks.backslash |= is(bytes, b'\\');
            masks.open |= is(brackets, b'{');
            masks.close |= is(brackets, b'}');
            least = _mm256_min_epu8(least, bytes);
            any = _mm256_or_si256(any, bytes);
        }
        (masks, least, any)
    };
    let (mut state, mut least, mut any) = (begin, all(b' '), all(0));
    let mut masks;
    let (chunks, rest) = bytes.as_chunks::<64>();
    for chunk in chunks {
        (masks, least, any) = look(chunk, least, any);
        state = see(state, masks);
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
        let seen = 64 - rest.len();
        let masks = Masks {
            quote: masks.quote >> seen,
            backslash: masks.backslash >> seen,
            open: masks.open >> seen,
            close: masks.close >> seen,
        };
        state = see(state, masks);
    }
    let met = Met {
        control: _mm256_movemask_epi8(_mm256_cmpeq_epi8(least, all(b' '))) != -1,
        beyond: _mm256_movemask_epi8(any) != 0,
    };
    (state, met)
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
            }
        });
        let met = Met {
            control: bytes.iter().any(|b| *b < b' '),
            beyond: !bytes.is_ascii(),
        };
        (masks.collect(), met)
    }

    #[test]
    fn every_byte_in_every_place() {
        for length in [0, 1, 63, 64, 65, 130] {
            for (byte, place) in (0..=255u8).flat_map(|byte| (0..length).map(move |place| (byte, place))) {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                let seen = std::cell::RefCell::new(Vec::new());
                let Some(((), met)) = fold(&bytes, (), |(), masks| seen.borrow_mut().push(masks)) else {
                    return;
                };
                assert_eq!((seen.into_inner(), met), plain(&bytes), "{byte} at {place} of {length}");
            }
        }
    }
}
