//! One run of `ltsp image`, from settings to published images (I3, I4).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::contents;
use super::kernels::{backing, whole_view};
use super::outcome::Outcome;
use crate::audit::{self, Finding};
use crate::cleanup::modern::{self, Cleaned};
use crate::config::modern::ImageRequest;
use crate::config::settings::{Audit, ImageSettings, Step};
use crate::engine::{self, Program};
use crate::error::{During, Error, Result, shown};
use crate::excludes::{Excludes, Pattern};
use crate::kernel::modern as kernel;
use crate::overlay::{InPlace, View};
use crate::publish::{Image, ImageFolder};
use crate::report::{self, size};
use crate::site::{Site, drop_ins::Stage};
use crate::source::lookup::{Found, Lookup};
use crate::source::mounted::Mounted;
use crate::space::Estimate;
use crate::sys::confined::Root;
use crate::sys::lock::PackageLock;
use crate::sys::signals;

/// The kernel step for one published image, with KERNEL_INITRD as the image's settings have it (I40).
pub type KernelStep<'a> = dyn FnMut(&OsStr, Option<&OsStr>) -> Result<()> + 'a;

/// Makes, or reverts, the images that the settings ask for. Drop-in scripts of `site` have their turn; what
/// they change in variables counts from then on. To be called in a private mount namespace.
///
/// # Errors
/// The first failure ends the run. Images published before it stay (I3).
pub fn run(
    settings: &ImageSettings,
    request: &ImageRequest,
    site: &mut Site,
    kernels: &mut KernelStep<'_>,
) -> Result<()> {
    let lookup = Lookup::new(&settings.base_dir);
    if settings.revert.is_some() {
        return revert(settings, &lookup, kernels);
    }
    let sources = lookup.sources(&settings.sources, settings.all_images)?;
    engine::choose(settings.engine, &settings.mksquashfs_params)?;
    if settings.dry_run {
        sources.found.iter().try_for_each(|source| plan(settings, source))?;
        return sources.end();
    }
    for (number, source) in sources.found.iter().enumerate() {
        signals::check()?;
        // As typed, which is in the order of what is found; without operands the name is.
        let list = settings.sources.get(number).unwrap_or(&source.name);
        // Held until the kernels are those of the image.
        let mut folder = existing_folder(&settings.base_dir)?;
        let image = Image::new(&settings.base_dir.join("images"), &source.name);
        let start = Instant::now();
        let written = build(request, site, source, list, &image, &mut folder)?;
        let initrd = site.variables.get("KERNEL_INITRD").map(OsStr::to_owned);
        let Some(Written { engine, findings }) = written else { continue };
        kernels(image.current.as_os_str(), initrd.as_deref()).map_err(of_another_program)?;
        if settings.json {
            let outcome = Outcome::of(source.name.clone(), &image, start.elapsed())?;
            report::result(&outcome.made(source.path.clone(), engine).audited(findings).json())?;
        }
        site.call(Stage::End, &[list], Some((&source.name, None)))?;
    }
    sources.end()
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

/// The mounted source and the view over it; the view goes first, the lock last (I39).
struct Source {
    view: Option<View>,
    in_place: Option<InPlace>,
    mounted: Mounted,
    _packages: Option<PackageLock>,
}

impl Source {
    fn new(source: &Found, settings: &ImageSettings) -> Result<Self> {
        let mounted = Mounted::new(source, backing(settings.trust_backing_files))?;
        // What is added to a root is no system that packages are installed in.
        let directory = mounted.layers().first().filter(|layer| layer.is_directory);
        let packages = match directory {
            Some(layer) if !settings.omitted.contains(&Step::Lock) => {
                Some(PackageLock::acquire(&Root::open(&layer.lower)?)?)
            }
            _ => None,
        };
        let (mut view, mut in_place) = (None, None);
        if settings.overlay {
            view = Some(whole_view(&mounted)?);
        } else if let [first, others @ ..] = mounted.layers() {
            if !others.is_empty() {
                let mut place = InPlace::new(&first.lower)?;
                others.iter().try_for_each(|layer| place.add(&layer.lower, &layer.target))?;
                in_place = Some(place);
            }
        }
        Ok(Self { view, in_place, mounted, _packages: packages })
    }

    fn root(&self) -> &Path {
        match (&self.view, &self.in_place) {
            (Some(view), _) => view.root(),
            (None, Some(in_place)) => in_place.root(),
            (None, None) => self.mounted.root(),
        }
    }
}

/// How an image was written.
struct Written {
    engine: Program,
    /// None if it was not searched for secrets.
    findings: Option<Vec<Finding>>,
}

/// None if nothing was to be written; scripts that would come after the image have had their turn then, with
/// the root still mounted (F37).
fn build(
    request: &ImageRequest,
    site: &mut Site,
    source: &Found,
    list: &OsStr,
    image: &Image,
    folder: &mut Option<ImageFolder>,
) -> Result<Option<Written>> {
    site.call(Stage::Start, &[list], Some((&source.name, None)))?;
    let (settings, _) = site.image_settings(request)?;
    let opened = Source::new(source, &settings)?;
    let done = clean(request, site, source, list, opened.root()).and_then(|settings| match settings {
        Some((settings, cleaned)) => {
            write(&settings, source, opened.root(), image, folder, &cleaned).map(Some)
        }
        None => {
            let mounted = Some((&*source.name, Some(opened.root())));
            site.call(Stage::End, &[list], mounted).map(|()| None)
        }
    });
    // What scripts have mounted in it has to go before the view.
    let undone = site.undo();
    drop(opened);
    done.and_then(|written| undone.map(|()| written))
}

/// All that comes before writing; the settings to write with and what was cleaned, unless nothing is to be
/// written.
fn clean(
    request: &ImageRequest,
    site: &mut Site,
    source: &Found,
    list: &OsStr,
    path: &Path,
) -> Result<Option<(ImageSettings, Cleaned)>> {
    let root = Root::open(path)?.known_as(&source.path);
    early_kernel(site, &root, source)?;
    site.call(Stage::Mounted, &[list], Some((&source.name, Some(path))))?;
    let (settings, _) = site.image_settings(request)?;
    let cleaned =
        if settings.cleanup { modern::clean(&root, &settings.omitted)? } else { Cleaned::default() };
    site.call(Stage::Cleaned, &[list], Some((&source.name, Some(path))))?;
    let (settings, _) = site.image_settings(request)?;
    if settings.omitted.contains(&Step::Write) {
        log::info!("Omitting mksquashfs_main");
        return Ok(None);
    }
    Ok(Some((settings, cleaned)))
}

/// A missing kernel is told before the long work (U6).
fn early_kernel(site: &Site, root: &Root, source: &Found) -> Result<()> {
    let settings = site.kernel_settings(Vec::new())?;
    if kernel::find(root, &settings)?.is_none() {
        log::warn!("{}", kernel::no_kernel(root, source.path.as_os_str())?);
    }
    Ok(())
}

fn write(
    settings: &ImageSettings,
    source: &Found,
    root: &Path,
    image: &Image,
    folder: &mut Option<ImageFolder>,
    cleaned: &Cleaned,
) -> Result<Written> {
    if folder.is_none() {
        *folder = Some(ImageFolder::open_private(&settings.base_dir)?);
    }
    let mut patterns: Vec<Pattern> = settings.excludes.clone();
    for own in
        [&settings.base_dir, &settings.tftp_dir].into_iter().filter_map(|path| path.canonicalize().ok())
    {
        patterns.extend(contents(&own, &source.path)?);
    }
    let program: Program = engine::choose(settings.engine, &settings.mksquashfs_params)?;
    let estimate = Estimate::of(root, &Excludes::new(patterns.clone()), true)?;
    estimate.check(&image.temporary)?;
    let new = image.begin(settings.keep)?;
    let job = engine::Job {
        source: root,
        destination: &image.temporary,
        exclude_file: None,
        listed: &[],
        excludes: &patterns,
        words: &settings.mksquashfs_params,
        prefix: settings.ionice.as_deref(),
        program,
        estimate: &estimate,
        environment: &settings.child_environment,
    };
    engine::write(&job)?;
    if settings.verify {
        engine::verify(&job)?;
    }
    let findings = audit(settings, image, cleaned)?;
    let bytes = new.publish()?;
    log::info!("Created {} ({}) from {}", shown(&image.current), size(bytes), shown(&source.path));
    Ok(Written { engine: program, findings })
}

/// Tells of secrets in the finished image, and stops before it is published if that was asked for. None if
/// it was not searched.
fn audit(settings: &ImageSettings, image: &Image, cleaned: &Cleaned) -> Result<Option<Vec<Finding>>> {
    if settings.audit == Audit::Off {
        return Ok(None);
    }
    let path = &image.temporary;
    let file = File::open(path).during("open", path)?;
    if settings.audit == Audit::Warn && !audit::can_search(&file, path)? {
        log::warn!("the image is not searched for secrets: only mksquashfs knows its compressor");
        return Ok(None);
    }
    let findings = audit::search(&file, path, &cleaned.renewed)?;
    for finding in &findings {
        log::warn!("secret in the image: {finding}");
    }
    if settings.audit == Audit::Strict && !findings.is_empty() {
        return Err(Error::new("publish", &image.current, format!("secrets in it: {}", findings.len()))
            .hint("exclude them (ADD_IMAGE_EXCLUDES), clean them away (--cleanup=1), or use --audit=warn"));
    }
    Ok(Some(findings))
}

fn revert(settings: &ImageSettings, lookup: &Lookup<'_>, kernels: &mut KernelStep<'_>) -> Result<()> {
    let names: Vec<Result<OsString>> = if settings.sources.is_empty() {
        let sources = lookup.sources(&[], settings.all_images)?;
        sources.found.into_iter().map(|source| Ok(source.name)).collect()
    } else {
        settings.sources.iter().map(|list| lookup.name_to_revert(list)).collect()
    };
    let _folder = existing_folder(&settings.base_dir)?;
    for name in names {
        let name = name?;
        let image = Image::new(&settings.base_dir.join("images"), &name);
        if settings.omitted.contains(&Step::Revert) {
            log::info!("Omitting revert");
            continue;
        }
        let start = Instant::now();
        image.revert(settings.revert.unwrap_or(NonZeroU32::MIN))?;
        log::info!("Reverted {}; reboot the clients that use it", shown(&image.current));
        kernels(image.current.as_os_str(), None).map_err(of_another_program)?;
        if settings.json {
            report::result(&Outcome::of(name, &image, start.elapsed())?.json())?;
        }
    }
    Ok(())
}

/// The kernel step is a program of its own in the original: whatever status it ends with, unless by a
/// signal, this one's is 1 (I40).
fn of_another_program(error: Error) -> Error {
    if error.status() < 128 { error.with_status(1) } else { error }
}

/// What would be done with one source.
fn plan(settings: &ImageSettings, source: &Found) -> Result<()> {
    let mounted = Mounted::new(source, backing(settings.trust_backing_files))?;
    let image: PathBuf =
        settings.base_dir.join("images").join([&source.name, OsStr::new(".img")].join(OsStr::new("")));
    log::info!("{} would become {}", shown(&source.path), shown(&image));
    for layer in mounted.layers() {
        log::info!("  mounted at /{}: {}", shown(&layer.target), layer.what);
    }
    Ok(())
}
