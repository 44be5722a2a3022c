//! The id table: every user and group id once, so that inodes need 16 bits for each.
//!
//! squashfs-tools-ng, doc/format.adoc, "ID Table".

use std::collections::HashMap;

use super::le::put_u32;
use crate::error::{Error, Result};

/// The superblock counts ids in 16 bits.
const MAX_IDS: usize = 65_535;
/// Size of an entry in bytes.
pub(super) const ID_SIZE: usize = 4;

/// The ids met so far.
#[derive(Debug, Default)]
pub(super) struct IdTable {
    ids: Vec<u32>,
    index: HashMap<u32, u16>,
}

impl IdTable {
    /// The place of `id` in the table.
    ///
    /// # Errors
    /// The source has more different owners than squashfs can hold.
    pub(super) fn index_of(&mut self, id: u32) -> Result<u16> {
        if let Some(&index) = self.index.get(&id) {
            return Ok(index);
        }
        let index = match u16::try_from(self.ids.len()) {
            Ok(index) if self.ids.len() < MAX_IDS => index,
            _ => return Err(Error::said(format!("the source has more than {MAX_IDS} different owners"))),
        };
        self.ids.push(id);
        self.index.insert(id, index);
        Ok(index)
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) fn count(&self) -> u16 {
        // `index_of` admits no more.
        u16::try_from(self.ids.len()).unwrap_or(u16::MAX)
    }

    /// The entries as they lie in the metadata blocks.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.ids.len() * ID_SIZE);
        for &id in &self.ids {
            put_u32(&mut out, id);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_stored_once_whatever_its_size() {
        let mut table = IdTable::default();
        assert_eq!(table.index_of(0).unwrap(), 0);
        assert_eq!(table.index_of(4_000_000_000).unwrap(), 1);
        assert_eq!(table.index_of(0).unwrap(), 0);
        assert_eq!(table.count(), 2);
        assert_eq!(table.encode(), [0, 0, 0, 0, 0x00, 0x28, 0x6b, 0xee]);
    }

    #[test]
    fn the_65536th_owner_is_one_too_many() {
        let mut table = IdTable::default();
        for id in 0..65_535 {
            table.index_of(id).unwrap();
        }
        assert!(table.index_of(70_000).is_err());
        assert!(table.index_of(65_534).is_ok());
    }
}
