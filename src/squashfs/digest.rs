//! The digests by which duplicate files are found.
//!
//! Two files with equal digests are taken to be equal without comparing their bytes, and a chroot may
//! hold files that somebody made in order to have another file replaced by them. So the digest is a
//! cryptographic one: BLAKE3, of which 128 bits are kept (a second file for a given digest takes 2^128
//! trials; two files of one's own with the same digest, at 2^64, harm nobody else). It is faster than
//! reading, where comparing would read every duplicate's original once more.

use std::sync::OnceLock;

use super::plan::PORTION;

/// The digest of a file's content.
pub(super) type Digest = [u8; 16];

/// The digest of one portion.
pub(super) type PieceDigest = [u8; 32];

/// Digests a portion.
pub(super) fn piece(bytes: &[u8]) -> PieceDigest {
    *blake3::hash(bytes).as_bytes()
}

/// The digest of a portion of `length` zeros, [`PORTION`] at most.
pub(super) fn zeros(length: usize) -> PieceDigest {
    static WHOLE: OnceLock<PieceDigest> = OnceLock::new();
    if length == PORTION { *WHOLE.get_or_init(|| piece(&vec![0; PORTION])) } else { piece(&vec![0; length]) }
}

/// The digest of a file from those of its portions. Files of different sizes are never compared, so a
/// file of one portion cannot be mistaken for one of several.
pub(super) fn whole(pieces: &[PieceDigest]) -> Digest {
    let full = match pieces {
        [only] => *only,
        _ => piece(pieces.as_flattened()),
    };
    let mut digest = Digest::default();
    digest.copy_from_slice(&full[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_has_the_digest_of_zeros() {
        assert_eq!(zeros(PORTION), piece(&vec![0; PORTION]));
        assert_eq!(zeros(5), piece(&[0; 5]));
    }

    #[test]
    fn the_order_of_pieces_matters() {
        let (a, b) = (piece(b"a"), piece(b"b"));
        assert_ne!(whole(&[a, b]), whole(&[b, a]));
        assert_eq!(whole(&[a]), a[..16]);
    }
}
