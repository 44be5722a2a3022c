//! The export table: from an inode number to the inode, for NFS servers.
//!
//! squashfs-tools-ng, doc/format.adoc, "Export Table".

use super::le::put_u64;
use super::metadata::Reference;

/// Size of an entry in bytes.
pub(super) const EXPORT_SIZE: usize = 8;

/// The entries as they lie in the metadata blocks; `inodes[n]` is the inode with the number n + 1.
pub(super) fn encode(inodes: &[Reference]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inodes.len() * EXPORT_SIZE);
    for inode in inodes {
        put_u64(&mut out, inode.packed());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_inode_reference() {
        let inodes = [Reference { block: 1, offset: 2 }, Reference { block: 3, offset: 4 }];
        assert_eq!(encode(&inodes), [2, 0, 1, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0, 0, 0, 0]);
    }
}
