//! Older images, kept for the clients that run from them.
//!
//! A client that has its root over NFS holds the file and not its name (O8, U4): as long as the file of
//! its image has any name, it goes on, however many newer images have been made. So older images move
//! from name to name, and are never written to. Their names do not end in `.img`: no tool of either LTSP
//! takes them for images that clients could be offered (O1).

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::names::{exchange, is_file, is_same_file, is_there, link, remove, rename};
use super::{Image, with_suffix};
use crate::error::{During, Result, shown};

/// What becomes of the images that there are when a new one is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Succession {
    /// Images that get another name: the old one, and the new one.
    pub moves: Vec<(PathBuf, PathBuf)>,
    /// Images that will be gone.
    pub lost: Vec<PathBuf>,
}

impl Image {
    /// What publishing will do to older images of which `keep` are to stay.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn succession(&self, keep: u32) -> Result<Succession> {
        let mut coming = Succession::default();
        match NonZeroU32::new(keep).filter(|_| is_file(&self.current)) {
            Some(keep) => {
                let last = self.first_free(keep);
                let names = |number| (self.before(number), self.generation(number));
                let (before, replaced) = names(last);
                if is_there(&replaced) && !is_same_file(&before, &replaced) {
                    coming.lost.push(replaced);
                }
                coming.moves.extend(numbers_down_to(1, last).map(names));
            }
            None if is_there(&self.current) => coming.lost.push(self.current.clone()),
            None => {}
        }
        if keep > 1 && self.folder.is_dir() {
            let surplus = self.generations()?.into_iter().filter(|number| number.get() > keep);
            coming.lost.extend(surplus.map(|number| self.generation(number)));
        }
        Ok(coming)
    }

    /// What becomes generation `number` next.
    fn before(&self, number: NonZeroU32) -> PathBuf {
        match NonZeroU32::new(number.get() - 1) {
            Some(before) => self.generation(before),
            None => self.current.clone(),
        }
    }

    /// The name of a backup: the last but one image is generation 1, `NAME.img.old`, the one before
    /// it generation 2, `NAME.img.old.2`, and so on.
    pub fn generation(&self, number: NonZeroU32) -> PathBuf {
        match number.get() {
            1 => self.backup.clone(),
            number => with_suffix(&self.backup, &format!(".{number}")),
        }
    }

    /// The generations that there are, from the newest to the oldest.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn generations(&self) -> Result<Vec<NonZeroU32>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.folder).during("read", &self.folder)? {
            let path = entry.during("read", &self.folder)?.path();
            numbers.extend(self.number_of(&path).filter(|_| is_file(&path)));
        }
        numbers.sort();
        Ok(numbers)
    }

    /// Removes the generations above `keep`. Clients that still run from one of them lose their root, so
    /// this is for an admin who has said how many to keep.
    pub(super) fn remove_generations_above(&self, keep: u32) -> Result<()> {
        for number in self.generations()?.into_iter().filter(|number| number.get() > keep) {
            let path = self.generation(number);
            std::fs::remove_file(&path).during("remove the old image", &path)?;
            log::info!("Removed {}", shown(&path));
        }
        Ok(())
    }

    fn number_of(&self, path: &Path) -> Option<NonZeroU32> {
        let first = self.backup.file_name()?.as_encoded_bytes();
        let number = match path.file_name()?.as_encoded_bytes().strip_prefix(first)? {
            [] => NonZeroU32::MIN,
            [b'.', number @ ..] => std::str::from_utf8(number).ok()?.parse().ok()?,
            _ => return None,
        };
        // Not "02", and not "1", which has another name.
        (self.generation(number) == path).then_some(number)
    }

    /// Keeps the present image as generation 1, older ones as the next; what was generation `keep` goes.
    ///
    /// Every step is a hard link or a rename, from the oldest to the newest: whenever the run ends, each
    /// of the images that are to stay has a name, and the next run goes on from there. A file that has two
    /// names because of that counts once.
    pub(super) fn keep_backups(&self, keep: NonZeroU32) -> Result<Kept> {
        self.recover(keep)?;
        let free = self.first_free(keep);
        for number in numbers_down_to(2, free) {
            self.move_on(number)?;
        }
        self.keep_present()
    }

    /// The first generation that need not move on: it is not there, or only another name of the one
    /// before it; else the last one, whose place is taken.
    fn first_free(&self, keep: NonZeroU32) -> NonZeroU32 {
        let mut before = self.current.clone();
        let mut number = NonZeroU32::MIN;
        while number < keep {
            let path = self.generation(number);
            if !is_there(&path) || is_same_file(&path, &before) {
                break;
            }
            before = path;
            number = number.saturating_add(1);
        }
        number
    }

    /// Makes the generation before `number` this one. It keeps its old name until the next image takes
    /// that; only where the file system has no hard links does it not.
    fn move_on(&self, number: NonZeroU32) -> Result<()> {
        let (from, to) = (self.before(number), self.generation(number));
        match also_name(&from, &to)? {
            Ok(()) => Ok(()),
            Err(_) => rename(&from, &to),
        }
    }

    /// Keeps the present image as `NAME.img.old`, in the place of an older one (U70, U71).
    ///
    /// A hard link first, so that the image never lacks a name. Where the file system has none, the
    /// new image and the old one change names.
    fn keep_present(&self) -> Result<Kept> {
        let Err(linking) = also_name(&self.current, &self.backup)? else { return Ok(Kept::Linked) };
        if exchange(&self.temporary, &self.current).is_ok_and(|done| done) {
            rename(&self.temporary, &self.backup)?;
            return Ok(Kept::Exchanged);
        }
        Err(linking.hint(
            "the file system of the folder can neither link nor exchange names; without a backup it suffices",
        ))
    }

    /// Finishes, or takes back, what an earlier run has begun: a spare name whose generation is missing
    /// becomes that generation, any other is removed.
    pub(super) fn recover(&self, up_to: NonZeroU32) -> Result<()> {
        for number in numbers_down_to(1, up_to) {
            let path = self.generation(number);
            if !is_there(&spare(&path)) {
                continue;
            }
            if is_there(&path) {
                remove(&spare(&path))?;
            } else {
                rename(&spare(&path), &path)?;
            }
        }
        Ok(())
    }
}

/// How the backup came to be.
pub(super) enum Kept {
    /// The image has both names, or none need be kept; the new one is still to be renamed.
    Linked,
    /// The new image already has its name.
    Exchanged,
}

/// Gives a file the name `to` as well, in the place of what has that; whether there can be hard links.
fn also_name(from: &Path, to: &Path) -> Result<Result<()>> {
    let spare = spare(to);
    if let Err(error) = link(from, &spare) {
        return Ok(Err(error));
    }
    match rename(&spare, to) {
        Ok(()) => Ok(Ok(())),
        Err(error) => {
            let _ = remove(&spare); // the rename's error is the one to be told
            Err(error)
        }
    }
}

/// The name that an image has on its way to a generation.
pub(super) fn spare(generation: &Path) -> PathBuf {
    with_suffix(generation, ".tmp")
}

fn numbers_down_to(least: u32, most: NonZeroU32) -> impl Iterator<Item = NonZeroU32> {
    (least..=most.get()).rev().filter_map(NonZeroU32::new)
}
