//! One run of `ltsp image`, from settings to published images (I3, I4).

mod opened;
mod plan;
mod revert;
mod tell;
mod writing;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Instant;

use super::kernels::KernelApplet;
use super::outcome::Outcome;
use crate::cleanup::modern::Cleaned;
use crate::cleanup::system_accounts;
use crate::config::modern::ImageRequest;
use crate::config::settings::{ImageSettings, Step};
use crate::engine;
use crate::error::Result;
use crate::publish::{Image, ImageFolder};
use crate::report;
use crate::site::{Site, drop_ins::Stage};
use crate::source::lookup::{Found, Lookup};
use crate::space::Estimate;
use crate::sys::confined::Root;
use crate::sys::signals;
use opened::{Opened, Packages};
use plan::{Kernel, Plan};
use tell::Circumstances;
use writing::Written;

/// Makes, or reverts, the images that the settings ask for, or tells what that would do. Drop-in scripts of
/// `site` have their turn; what they change in variables counts from then on. To be called in a private mount
/// namespace.
///
/// # Errors
/// The first failure ends the run. Images published before it stay (I3).
pub fn run(
    settings: &ImageSettings,
    request: &ImageRequest,
    site: &mut Site,
    kernels: &mut KernelApplet,
) -> Result<()> {
    let lookup = Lookup::new(&settings.base_dir);
    if let Some(number) = settings.revert {
        return revert::revert(settings, &lookup, number, kernels);
    }
    let sources = lookup.sources(&settings.sources, settings.all_images)?;
    engine::choose(settings.engine, &settings.mksquashfs_params)?;
    let images = settings.base_dir.join("images");
    if settings.dry_run {
        ImageFolder::check(&settings.base_dir)?;
        for source in &sources.found {
            signals::check()?;
            let image = Image::new(&images, &source.name);
            image.check(settings.keep)?;
            tell(settings, site, kernels, source, &image)?;
        }
        return sources.end();
    }
    for (number, source) in sources.found.iter().enumerate() {
        signals::check()?;
        // As typed, which is in the order of what is found; without operands the name is.
        let list = settings.sources.get(number).unwrap_or(&source.name);
        let image = Image::new(&images, &source.name);
        image.check(settings.keep)?;
        let mut run = Run { request, site, kernels, source, list, image: &image };
        run.one(settings)?;
    }
    sources.end()
}

/// What would be done with one source: all that comes before anything is written.
fn tell(
    settings: &ImageSettings,
    site: &Site,
    kernels: &KernelApplet,
    source: &Found,
    image: &Image,
) -> Result<()> {
    let opened = Opened::new(source, settings, Packages::Free)?;
    let plan =
        Plan::new(source, image, &opened, settings, &kernels.settings(kernel_initrd(site).as_deref())?)?;
    plan.kernel.warn();
    if plan.cleanup.as_ref().is_some_and(|cleanup| cleanup.takes(Step::Users)) {
        system_accounts::check(&Root::open(opened.view.root())?.known_as(&source.path))?;
    }
    let mut estimate = None;
    if let Some(writing) = &plan.writing {
        let found = Estimate::of(opened.view.root(), &writing.excludes(), true)?;
        found.check(&image.temporary)?;
        estimate = Some(found);
    }
    let code = site.code().into_iter().chain(kernels.code()).collect();
    let more = Circumstances { estimate, code, in_full: report::debugs() };
    if settings.json {
        return report::result(&plan.json(&more)?);
    }
    plan.lines(&more)?.iter().for_each(|line| log::info!("{line}"));
    Ok(())
}

fn kernel_initrd(site: &Site) -> Option<OsString> {
    site.variables.get("KERNEL_INITRD").map(OsStr::to_owned)
}

/// The images folder, so that another run is noticed before the long work. One that is missing is made
/// when there is something to be written in it, and not before (I44).
fn existing_folder(base: &Path) -> Result<Option<ImageFolder>> {
    if base.join("images").symlink_metadata().is_ok() {
        ImageFolder::open_private(base).map(Some)
    } else {
        Ok(None)
    }
}

/// The making of one image.
struct Run<'a> {
    request: &'a ImageRequest,
    site: &'a mut Site,
    kernels: &'a mut KernelApplet,
    source: &'a Found,
    /// The source as the admin typed it.
    list: &'a OsStr,
    image: &'a Image,
}

impl Run<'_> {
    fn one(&mut self, settings: &ImageSettings) -> Result<()> {
        // Held until the kernels are those of the image.
        let mut folder = existing_folder(&settings.base_dir)?;
        let start = Instant::now();
        if let Some(Written { engine, findings }) = self.build(&mut folder)? {
            self.kernels.run(self.image.current.as_os_str(), kernel_initrd(self.site).as_deref())?;
            self.site.debug_messages();
            if settings.json {
                let outcome = Outcome::of(self.source.name.clone(), self.image, start.elapsed())?;
                report::result(&outcome.made(self.source.path.clone(), engine).audited(findings).json())?;
            }
            self.call(Stage::End, None)?;
        }
        Ok(())
    }

    /// None if nothing was to be written; scripts that would come after the image have had their turn then,
    /// with the root still mounted (F37).
    fn build(&mut self, folder: &mut Option<ImageFolder>) -> Result<Option<Written>> {
        self.call(Stage::Start, None)?;
        let settings = self.settings()?;
        let opened = Opened::new(self.source, &settings, Packages::Locked)?;
        let kernels = self.kernels.settings(kernel_initrd(self.site).as_deref())?;
        let mut plan = Plan::new(self.source, self.image, &opened, &settings, &kernels)?;
        plan.parts.iter().for_each(|part| log::info!("{}", part.announced()));
        plan.kernel.warn();
        let done = self.carry_out(&mut plan, &opened, folder);
        if let Err(error) = &done {
            self.site.debug_shell(error, Some((&self.source.name, opened.view.root())))?;
        }
        // What scripts have mounted in it has to go before the view.
        let undone = self.site.undo();
        drop(opened);
        done.and_then(|written| undone.map(|()| written))
    }

    fn carry_out(
        &mut self,
        plan: &mut Plan,
        opened: &Opened,
        folder: &mut Option<ImageFolder>,
    ) -> Result<Option<Written>> {
        let path = opened.view.root();
        self.call(Stage::Mounted, Some(path))?;
        plan.settle(&self.settings()?, opened)?;
        let cleaned = match &plan.cleanup {
            Some(cleanup) => cleanup.run(&Root::open(path)?.known_as(&self.source.path))?,
            None => Cleaned::default(),
        };
        self.call(Stage::Cleaned, Some(path))?;
        plan.settle(&self.settings()?, opened)?;
        let Some(writing) = &plan.writing else {
            log::info!("Omitting mksquashfs_main");
            self.call(Stage::End, Some(path))?;
            return Ok(None);
        };
        writing.write(&self.source.path, path, self.image, folder, &cleaned).map(Some)
    }

    /// The settings by the variables as they are now.
    fn settings(&self) -> Result<ImageSettings> {
        self.site.image_settings(self.request).map(|(settings, _)| settings)
    }

    /// Gives drop-in scripts their turn.
    fn call(&mut self, stage: Stage, root: Option<&Path>) -> Result<()> {
        self.site.call(stage, &[self.list], Some((&self.source.name, root)))
    }
}

impl Kernel {
    /// A missing kernel is told before the long work (U6).
    fn warn(&self) {
        if let Self::Missing(told) = self {
            log::warn!("{told}");
        }
    }
}
