//! Data that no compressor makes smaller: what is compressed already, such as pictures, archives and
//! fonts. It is told apart at a fraction of the cost of trying, and kept apart from other data.
//!
//! In such data all byte values are equally frequent, and nothing is said twice. Both are looked for.
//! A sum of squared counts tells how even the values are: of `n` random bytes it is `n + n (n - 1) / 256`
//! on average, with a standard deviation of `n sqrt(2 / 256)`; text and machine code have many times that.

/// Files and blocks below this are too short for statistics.
const SHORTEST: usize = 1024;
/// Bytes from the middle that settle most cases.
const GLANCE: usize = 512;
/// Sum of squares for a glance: random bytes have 1534, base64 has 4600. The distance is eleven standard
/// deviations, as headers and text between the random bytes are to be expected.
const DENSE: u64 = 2048;

/// A block is looked at in so many stripes of so many bytes, too.
const STRIPES: usize = 16;
const STRIPE: usize = 1024;
/// How much more than random the sum of squares of the stripes may be, in 1/1024: 0.01 bits in a byte.
const UNEVEN: u64 = 14;

/// The values at which repetitions are looked for: 4 of 256, so that 1/64 of all places are looked at,
/// chosen by their content.
const ANCHOR: u8 = 0xb4;
const ANCHOR_MASK: u8 = 0xfc;
/// Of these places, so many may repeat what stood before: 1 in so many.
const REPEATED: usize = 64;
/// Bits of the number of places that are remembered.
const SLOT_BITS: u32 = 12;

/// Whether a small file looks as if it were compressed already.
pub(super) fn is_dense(file: &[u8]) -> bool {
    let start = file.len().saturating_sub(GLANCE) / 2;
    file.len() >= SHORTEST && squares(std::iter::once(&file[start..start + GLANCE])) <= DENSE
}

/// Whether compressing a block would gain next to nothing: less than one part in a hundred.
pub(super) fn is_noise(block: &[u8]) -> bool {
    block.len() >= STRIPES * STRIPE && is_dense(block) && is_even(block) && !repeats(block)
}

fn is_even(block: &[u8]) -> bool {
    let n = (STRIPES * STRIPE) as u64;
    let random = n + n * (n - 1) / 256;
    // Three standard deviations, about a quarter of n, for chance.
    squares(block.chunks(block.len() / STRIPES).take(STRIPES).map(|chunk| &chunk[..STRIPE]))
        <= random + random * UNEVEN / 1024 + n / 4
}

/// The sum of the squares of how often each byte value is there.
fn squares<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut counts = [0_u32; 256];
    pieces.flatten().for_each(|&byte| counts[usize::from(byte)] += 1);
    counts.iter().map(|&count| u64::from(count).pow(2)).sum()
}

/// Whether a good part of a block repeats what stood somewhere before it.
fn repeats(block: &[u8]) -> bool {
    let mut seen = [0_usize; 1 << SLOT_BITS];
    let (mut places, mut found) = (0, 0);
    for (place, text) in block.windows(8).enumerate().filter(|(_, text)| text[0] & ANCHOR_MASK == ANCHOR) {
        let Ok(text) = text.try_into().map(u64::from_le_bytes) else { continue };
        let slot = text.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOT_BITS);
        let before = std::mem::replace(&mut seen[slot as usize], place);
        places += 1;
        found += usize::from(before != 0 && block[before..before + 8] == text.to_le_bytes());
    }
    found * REPEATED > places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn random_bytes_are_noise_at_any_length_that_can_be_judged() {
        for length in [16 << 10, 20_001, 128 << 10, 1 << 20] {
            assert!(is_noise(&noise(length)), "{length}");
        }
        for length in [0, 1, 511, 1023] {
            assert!(!is_dense(&noise(length)) && !is_noise(&noise(length)), "{length}");
        }
        assert!(is_dense(&noise(1024)));
        assert!(!is_noise(&noise(16_383)));
    }

    #[test]
    fn whatever_can_shrink_is_not_noise() {
        let random = noise(128 << 10);
        let text: Vec<u8> = b"The quick brown fox ".iter().copied().cycle().take(128 << 10).collect();
        let base64: Vec<u8> = random.iter().map(|byte| b' ' + (byte & 63)).collect();
        let twice = random[..64 << 10].repeat(2);
        // One eighth of text between random bytes; and one value that is too frequent.
        let mut mixed = random.clone();
        mixed[32 << 10..48 << 10].copy_from_slice(&text[..16 << 10]);
        let biased: Vec<u8> =
            random.iter().enumerate().map(|(n, &byte)| if n % 32 == 0 { 0 } else { byte }).collect();
        let records = [&random[..512], &random[..512]].concat().repeat(128);
        for (name, block) in [
            ("text", text),
            ("base64", base64),
            ("twice", twice),
            ("mixed", mixed),
            ("biased", biased),
            ("records", records),
            ("zeros", vec![0; 128 << 10]),
        ] {
            assert!(!is_noise(&block), "{name}");
        }
    }
}
