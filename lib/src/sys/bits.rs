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
    /// Below a space.
    pub control: u64,
}

/// Finds what matters to the structure of JSON, in 64 bytes after the other; the last ones are filled up with spaces.
/// False, and nothing was looked at, on a machine that has no instructions for it.
#[inline]
pub fn each(bytes: &[u8], see: impl FnMut(Masks)) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: this machine has been asked whether it has what the function needs.
        unsafe { avx2(bytes, see) };
        return true;
    }
    let _ = (bytes, see);
    false
}

#[cfg(any(test, target_arch = "x86_64"))]
#[inline(always)]
fn walk(bytes: &[u8], masks: impl Fn(&[u8; 64]) -> Masks, mut see: impl FnMut(Masks)) {
    let (chunks, rest) = bytes.as_chunks::<64>();
    for chunk in chunks {
        see(masks(chunk));
    }
    let mut last = [b' '; 64];
    last[..rest.len()].copy_from_slice(rest);
    see(masks(&last));
}

/// [`walk`] with 32 bytes an instruction; `see` becomes part of it, and so has the instructions for it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn avx2(bytes: &[u8], see: impl FnMut(Masks)) {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
        _mm256_set1_epi8,
    };
    let masks = |chunk: &[u8; 64]| {
        let (halves, _) = chunk.as_chunks::<32>();
        let mut masks = Masks::default();
        for (i, half) in halves.iter().enumerate() {
            // SAFETY: a load from any address, of the 32 bytes that are borrowed.
            let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
            let bits = |hit| u64::from(_mm256_movemask_epi8(hit) as u32) << (32 * i);
            let is = |bytes, byte: u8| bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8)));
            // One bit parts '[' from '{' and ']' from '}'.
            let brackets = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
            masks.quote |= is(bytes, b'"');
            masks.backslash |= is(bytes, b'\\');
            masks.open |= is(brackets, b'{');
            masks.close |= is(brackets, b'}');
            masks.control |= bits(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes));
        }
        masks
    };
    walk(bytes, masks, see);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same the plain way.
    fn plain(chunk: &[u8; 64]) -> Masks {
        let bits = |is: fn(u8) -> bool| {
            let each = chunk.iter().enumerate();
            each.fold(0, |bits, (i, &byte)| bits | u64::from(is(byte)) << i)
        };
        Masks {
            quote: bits(|b| b == b'"'),
            backslash: bits(|b| b == b'\\'),
            open: bits(|b| b | 0x20 == b'{'),
            close: bits(|b| b | 0x20 == b'}'),
            control: bits(|b| b < 0x20),
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..=255u8 {
            for place in 0..130 {
                let mut bytes = [b'a'; 130];
                bytes[place] = byte;
                let (mut fast, mut slow) = (Vec::new(), Vec::new());
                if !each(&bytes, |masks| fast.push(masks)) {
                    return;
                }
                walk(&bytes, plain, |masks| slow.push(masks));
                assert_eq!(fast, slow, "{byte} at {place}");
                assert_eq!(fast.len(), 3);
            }
        }
    }
}
