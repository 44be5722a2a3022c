//! Back to an older image (U73, I41).

use std::num::NonZeroU32;

use super::Image;
use super::generations::spare;
use super::names::{exchange, is_file, link, rename};
use crate::error::{Error, Result, shown};
use crate::sys::signals;

impl Image {
    /// Exchanges the image with that generation of its backups; without an image, makes the generation
    /// the image. Done twice, everything is as before.
    ///
    /// # Errors
    /// When there is no such generation, or the names cannot be exchanged; then nothing has changed.
    pub fn revert(&self, generation: NonZeroU32) -> Result<()> {
        self.recover(generation)?;
        self.check_revert(generation)?;
        signals::check()?;
        let backup = self.generation(generation);
        if !is_file(&self.current) {
            return rename(&backup, &self.current);
        }
        if exchange(&backup, &self.current)? {
            return Ok(());
        }
        // Not every file system can exchange names; three steps then, each of which leaves a complete
        // image under the name, and after which the next run knows what was meant.
        let spare = spare(&backup);
        link(&self.current, &spare)?;
        rename(&backup, &self.current)?;
        rename(&spare, &backup)
    }

    /// Whether [`Image::revert`] has something to work with.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_revert(&self, generation: NonZeroU32) -> Result<()> {
        let backup = self.generation(generation);
        if is_file(&backup) || is_file(&spare(&backup)) {
            return Ok(());
        }
        let others = self.generations().unwrap_or_default();
        let hint = if others.is_empty() {
            "a backup is kept when a newer image is made, unless that is switched off".to_owned()
        } else {
            let names = others.into_iter().map(|number| shown(self.generation(number)));
            format!("there is {}", names.collect::<Vec<_>>().join(", "))
        };
        Err(Error::new("revert to", backup, "there is no backup of that name").hint(hint))
    }
}
