//! Extended attributes: equal sets are stored once, and so are equal values in different sets.
//!
//! squashfs-tools-ng, doc/format.adoc, "Extended Attribute Table".

use std::collections::HashMap;

use super::compress::Compressor;
use super::le::{Corrupt, Fields, narrow, put_u16, put_u32, put_u64, wide};
use super::metadata::{MetadataWriter, Reference, lookup_table};
use crate::error::{Error, Result};

/// Size of an entry of the lookup table in bytes.
pub(super) const XATTR_ID_SIZE: usize = 16;
/// Size of the head of the lookup table in bytes.
pub(super) const XATTR_HEAD_SIZE: usize = 16;
/// The longest value that Linux has (XATTR_SIZE_MAX).
pub(super) const MAX_VALUE: u32 = 65_536;
/// Set in the type of an attribute whose value lies elsewhere.
const OUT_OF_LINE: u16 = 0x0100;
/// Size of the pointer to a value that lies elsewhere; a shorter value is not worth one.
const POINTER_SIZE: usize = 8;
/// The name spaces that squashfs can store, in the order of their numbers.
const PREFIXES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// The number of the name space: user, trusted, security.
    prefix: u16,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Xattr {
    /// The attribute `name`, which includes its name space. `None`: squashfs cannot store it, as its
    /// name space is another one (POSIX ACLs are the usual case).
    pub fn new(name: &[u8], value: Vec<u8>) -> Option<Self> {
        (0..).zip(PREFIXES).find_map(|(prefix, text)| {
            let name = name.strip_prefix(text)?.to_vec();
            Some(Self { prefix, name, value: value.clone() })
        })
    }

    /// The name with its name space.
    pub fn full_name(&self) -> Vec<u8> {
        let prefix = PREFIXES.get(usize::from(self.prefix)).copied().unwrap_or_default();
        [prefix, &self.name].concat()
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// The sets of attributes met so far.
#[derive(Debug, Default)]
pub(super) struct XattrTable {
    sets: Vec<std::sync::Arc<[Xattr]>>,
    index: HashMap<std::sync::Arc<[Xattr]>, u32>,
}

impl XattrTable {
    /// The place of a set, which must not be empty. The order of its attributes does not matter.
    ///
    /// # Errors
    /// There are more different sets than the format can number.
    pub(super) fn index_of(&mut self, mut set: Vec<Xattr>) -> Result<u32> {
        set.sort();
        if let Some(&index) = self.index.get(&set[..]) {
            return Ok(index);
        }
        let index = u32::try_from(self.sets.len())
            .ok()
            .filter(|&index| index != super::inode::NO_XATTRS)
            .ok_or_else(|| Error::said("the source has too many different extended attributes"))?;
        let set: std::sync::Arc<[Xattr]> = set.into();
        self.sets.push(set.clone());
        self.index.insert(set, index);
        Ok(index)
    }

    /// The set with this place; none for `NO_XATTRS`.
    pub(super) fn set(&self, index: u32) -> &[Xattr] {
        self.sets.get(narrow(index)).map_or(&[], |set| set)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The whole table as it will lie at `position`, and where its head starts. `compressor` makes
    /// one for each of its two parts, or none to store them as they are.
    pub(super) fn encode(
        &self,
        position: u64,
        compressor: impl Fn() -> Result<Option<Compressor>>,
    ) -> Result<(Vec<u8>, u64)> {
        let mut pairs = MetadataWriter::new(compressor()?);
        let mut lookup = Vec::with_capacity(self.sets.len() * XATTR_ID_SIZE);
        let mut stored_at: HashMap<&[u8], Reference> = HashMap::new();
        for set in &self.sets {
            let start = pairs.position()?;
            let mut size = 0;
            for xattr in set.iter() {
                let elsewhere = stored_at.get(&xattr.value[..]).filter(|_| xattr.value.len() > POINTER_SIZE);
                let mut record = Vec::with_capacity(16 + xattr.name.len() + xattr.value.len());
                put_u16(&mut record, xattr.prefix | if elsewhere.is_some() { OUT_OF_LINE } else { 0 });
                put_u16(&mut record, short(xattr.name.len())?);
                record.extend_from_slice(&xattr.name);
                pairs.write(&record)?;
                size += record.len();
                let value_at = pairs.position()?;
                record.clear();
                if let Some(reference) = elsewhere {
                    put_u32(&mut record, u32::try_from(POINTER_SIZE).unwrap_or(0));
                    put_u64(&mut record, reference.packed());
                } else {
                    put_u32(&mut record, value_size(xattr.value.len())?);
                    record.extend_from_slice(&xattr.value);
                    stored_at.insert(&xattr.value, value_at);
                }
                pairs.write(&record)?;
                size += record.len();
            }
            put_u64(&mut lookup, start.packed());
            put_u32(&mut lookup, u32::try_from(set.len()).unwrap_or(u32::MAX));
            put_u32(&mut lookup, u32::try_from(size).unwrap_or(u32::MAX));
        }
        let mut table = pairs.finish()?;
        let (blocks, list_at) = lookup_table(&lookup, position + wide(table.len()), compressor()?)?;
        let (blocks, list) = blocks.split_at(narrow(list_at - position) - table.len());
        table.extend_from_slice(blocks);
        let head_at = position + wide(table.len());
        put_u64(&mut table, position);
        put_u32(&mut table, u32::try_from(self.sets.len()).unwrap_or(u32::MAX));
        put_u32(&mut table, 0);
        table.extend_from_slice(list);
        Ok((table, head_at))
    }
}

fn short(length: usize) -> Result<u16> {
    u16::try_from(length).map_err(|_| too_long())
}

fn value_size(length: usize) -> Result<u32> {
    u32::try_from(length).ok().filter(|&size| size <= MAX_VALUE).ok_or_else(too_long)
}

fn too_long() -> Error {
    Error::said("an extended attribute of the source is too long for squashfs")
}

/// Reads the `count` attributes of a set; `more(n)` gives the next n bytes of the pairs, and
/// `value_at(place)` the value that starts there.
pub(super) fn read_set(
    count: u32,
    mut more: impl FnMut(usize) -> std::result::Result<Vec<u8>, Corrupt>,
    mut value_at: impl FnMut(Reference) -> std::result::Result<Vec<u8>, Corrupt>,
) -> std::result::Result<Vec<Xattr>, Corrupt> {
    let mut set = Vec::new();
    for _ in 0..count {
        let head = more(4)?;
        let mut fields = Fields::new(&head);
        let (kind, length) = (fields.u16()?, fields.u16()?);
        let prefix = kind & !OUT_OF_LINE;
        if usize::from(prefix) >= PREFIXES.len() {
            return Err(Corrupt::new(format!("an extended attribute has the unknown name space {prefix}")));
        }
        let name = more(usize::from(length))?;
        let length = Fields::new(&more(4)?).u32()?;
        if length > MAX_VALUE {
            return Err(Corrupt::new("an extended attribute is too long"));
        }
        let mut value = more(narrow(length))?;
        if kind & OUT_OF_LINE != 0 {
            let place = Reference::unpacked(Fields::new(&value).u64()?)
                .ok_or_else(|| Corrupt::new("an extended attribute points outside its table"))?;
            value = value_at(place)?;
        }
        set.push(Xattr { prefix, name, value });
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(name: &str, value: &[u8]) -> Xattr {
        Xattr::new(name.as_bytes(), value.to_vec()).unwrap()
    }

    #[test]
    fn only_three_name_spaces_can_be_stored() {
        for name in ["user.a", "trusted.b", "security.capability"] {
            assert_eq!(xattr(name, b"").full_name(), name.as_bytes());
        }
        assert_eq!(Xattr::new(b"system.posix_acl_access", vec![]), None);
    }

    #[test]
    fn equal_sets_are_one_whatever_their_order() {
        let mut table = XattrTable::default();
        let (a, b) = (xattr("user.a", b"1"), xattr("user.b", b"2"));
        assert_eq!(table.index_of(vec![a.clone(), b.clone()]).unwrap(), 0);
        assert_eq!(table.index_of(vec![b.clone()]).unwrap(), 1);
        assert_eq!(table.index_of(vec![b, a]).unwrap(), 0);
    }

    #[test]
    fn a_value_that_was_stored_before_is_pointed_to() {
        let mut table = XattrTable::default();
        let long = [b'x'; 100];
        table.index_of(vec![xattr("user.a", &long), xattr("user.s", b"short")]).unwrap();
        table
            .index_of(vec![xattr("user.b", &long), xattr("user.s", b"short"), xattr("user.z", &[])])
            .unwrap();
        let (bytes, head) = table.encode(1000, || Ok(None)).unwrap();
        // Pairs: the first set whole; the second with a pointer to offset 5, the first value.
        let first = 4 + 1 + 4 + 100 + 4 + 1 + 4 + 5;
        let second = 4 + 1 + 4 + 8 + 4 + 1 + 4 + 5 + 4 + 1 + 4;
        assert_eq!(usize::from(u16::from_le_bytes([bytes[0], bytes[1]]) & 0x7fff), first + second);
        assert_eq!(bytes[2 + first..][..4], [0, 1, 1, 0]);
        assert_eq!(bytes[2 + first + 5..][..12], [8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        // Lookup entries, then the head, then one position.
        let lookup = 2 + first + second;
        assert_eq!(head, 1000 + wide(lookup + 2 + 32));
        assert_eq!(bytes.len(), lookup + 2 + 32 + 16 + 8);
        assert_eq!(bytes[lookup + 2 + 16 + 8..][..4], [3, 0, 0, 0]);

        let pairs = bytes[2..lookup].to_vec();
        let mut rest = &pairs[first..];
        let set = read_set(
            3,
            |count| {
                let (taken, left) = rest.split_at(count);
                rest = left;
                Ok(taken.to_vec())
            },
            |place| Ok(pairs[usize::from(place.offset) + 4..][..100].to_vec()),
        );
        assert_eq!(set.unwrap(), [xattr("user.b", &long), xattr("user.s", b"short"), xattr("user.z", &[])]);
    }
}
