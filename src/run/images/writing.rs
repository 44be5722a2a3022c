//! How an image will be written, and writing it.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::audit::{self, Finding};
use crate::cleanup::modern::Cleaned;
use crate::config::settings::{Audit, ImageSettings};
use crate::engine::{self, Program};
use crate::error::{During, Error, Result, shown};
use crate::excludes::{Excludes, ImageList, Pattern};
use crate::overlay::View;
use crate::publish::{Image, ImageFolder};
use crate::report::size;
use crate::run::contents;
use crate::space::Estimate;
use crate::sys::command::Changes;

/// All that is decided before an image is written.
#[derive(Debug)]
pub(super) struct Writing {
    pub program: Program,
    /// What is asked of the program.
    pub words: Vec<OsString>,
    /// What goes before it.
    pub prefix: Vec<OsString>,
    /// What the admin's list leaves out.
    pub list: ImageList,
    /// What is left out besides: directories of this server that stay, empty.
    pub emptied: Vec<PathBuf>,
    patterns: Vec<Pattern>,
    pub verify: bool,
    pub audit: Audit,
    /// How many replaced images are to stay.
    pub keep: u32,
    base_dir: PathBuf,
    environment: Changes,
}

/// How an image was written.
pub(super) struct Written {
    pub engine: Program,
    /// None if it was not searched for secrets.
    pub findings: Option<Vec<Finding>>,
}

impl Writing {
    /// As these settings say, for the source at `path`, which `view` shows.
    ///
    /// # Errors
    /// When the program that is asked for is missing, or cannot do what it should.
    pub fn new(settings: &ImageSettings, path: &Path, view: &View) -> Result<Self> {
        let mut patterns = settings.excludes.patterns.clone();
        let mut emptied = Vec::new();
        // The image must not hold other images, nor what is served from this machine.
        for own in [&settings.base_dir, &settings.tftp_dir] {
            let Ok(own) = own.canonicalize() else { continue };
            let inside = contents(&own, path)?;
            if !inside.is_empty() {
                patterns.extend(inside);
                emptied.push(own);
            }
        }
        if let Some((folder, name)) = view.own_place().and_then(|place| place.parent().zip(place.file_name()))
        {
            patterns.push(Pattern::literal_then(folder, &name.to_string_lossy())?);
        }
        Ok(Self {
            program: engine::choose(settings.engine, &settings.mksquashfs_params)?,
            words: settings.mksquashfs_params.clone(),
            prefix: engine::prefix(settings.ionice.as_deref())?,
            list: settings.excludes.clone(),
            emptied,
            patterns,
            verify: settings.verify,
            audit: settings.audit,
            keep: settings.keep,
            base_dir: settings.base_dir.clone(),
            environment: settings.child_environment.clone(),
        })
    }

    /// Everything that is left out.
    pub fn excludes(&self) -> Excludes {
        Excludes::new(self.patterns.clone())
    }

    /// Writes and publishes the image of `root`, which the admin knows as `source`. The folder of images is
    /// made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written, or must not be published: images and backups are then as they were.
    pub fn write(
        &self,
        source: &Path,
        root: &Path,
        image: &Image,
        folder: &mut Option<ImageFolder>,
        cleaned: &Cleaned,
    ) -> Result<Written> {
        if folder.is_none() {
            *folder = Some(ImageFolder::open_private(&self.base_dir)?);
        }
        let estimate = Estimate::of(root, &self.excludes(), true)?;
        estimate.check(&image.temporary)?;
        let new = image.begin(self.keep)?;
        let job = engine::Job {
            source: root,
            destination: &image.temporary,
            exclude_file: None,
            listed: &[],
            excludes: &self.patterns,
            words: &self.words,
            prefix: &self.prefix,
            program: self.program,
            estimate: &estimate,
            environment: &self.environment,
        };
        engine::write(&job)?;
        if self.verify {
            engine::verify(&job)?;
        }
        let findings = self.audit(image, cleaned)?;
        let bytes = new.publish()?;
        log::info!("Created {} ({}) from {}", shown(&image.current), size(bytes), shown(source));
        Ok(Written { engine: self.program, findings })
    }

    /// Tells of secrets in the finished image, and stops before it is published if that was asked for. None
    /// if it was not searched.
    fn audit(&self, image: &Image, cleaned: &Cleaned) -> Result<Option<Vec<Finding>>> {
        if self.audit == Audit::Off {
            return Ok(None);
        }
        let path = &image.temporary;
        let file = File::open(path).during("open", path)?;
        if self.audit == Audit::Warn && !audit::can_search(&file, path)? {
            log::warn!("the image is not searched for secrets: only mksquashfs knows its compressor");
            return Ok(None);
        }
        let findings = audit::search(&file, path, &cleaned.renewed)?;
        for finding in &findings {
            log::warn!("secret in the image: {finding}");
        }
        if self.audit == Audit::Strict && !findings.is_empty() {
            return Err(Error::new("publish", &image.current, format!("secrets in it: {}", findings.len()))
                .hint(
                    "exclude them (ADD_IMAGE_EXCLUDES), clean them away (--cleanup=1), or use --audit=warn",
                ));
        }
        Ok(Some(findings))
    }
}
