//! A plan for people and for programs to read (`--dry-run`).

use std::path::PathBuf;

use super::plan::{Kernel, Part, Plan, place, words};
use super::writing::Writing;
use crate::config::settings::Audit;
use crate::engine;
use crate::error::{Result, shown};
use crate::report::json::Json;
use crate::report::size;
use crate::space::{self, Estimate};

/// What has to be added to a plan.
pub(super) struct Circumstances {
    /// How much there is to write, if anything is to be written.
    pub estimate: Option<Estimate>,
    /// Code of the admin's that a real run would run: a name, and when.
    pub code: Vec<(String, &'static str)>,
    /// All exclude patterns are to be listed.
    pub in_full: bool,
}

impl Plan {
    /// Lines of a label and a value; lines that go on with the last label have none.
    ///
    /// # Errors
    /// When the folder of images cannot be looked at.
    pub fn lines(&self, more: &Circumstances) -> Result<Vec<String>> {
        let mut facts: Vec<(&str, Vec<String>)> =
            vec![("source", self.parts.iter().map(Part::told).collect())];
        let left_out = self.left_out.iter().map(|mount| {
            format!("{} is left out: {} ({})", place(&mount.place), shown(&mount.path), shown(&mount.fstype))
        });
        facts.push(("", left_out.collect()));
        let locked = |lock: &PathBuf| match lock.is_file() {
            false => "may change meanwhile: there is no dpkg that could be locked".to_owned(),
            true => format!("are kept as they are meanwhile, by a lock on {}", shown(lock)),
        };
        facts.push(("packages", self.lock.iter().map(locked).collect()));
        facts.push(("changes", vec![self.changes()]));
        facts.push(("cleanup", self.cleanup_told()));
        match &self.writing {
            None => facts.push(("image", vec!["none: mksquashfs_main is omitted".to_owned()])),
            Some(writing) => {
                facts.push(("excludes", writing.excludes_told(more.in_full)));
                facts.push(("size", self.size_told(more.estimate.as_ref())?));
                facts.push(("writer", vec![writing.program_told()]));
                facts.push(("checks", writing.checks_told()));
                facts.push(("image", vec![shown(&self.image.current)]));
                facts.push(("backups", self.backups_told()?));
                facts.push(("kernel", self.kernel.told()));
            }
        }
        facts.push(("code", more.code.iter().map(|(name, when)| format!("{name}, {when}")).collect()));
        let mut lines = vec![format!("{} would become {}:", shown(&self.source), shown(&self.image.current))];
        for (label, values) in facts {
            for (number, value) in values.iter().enumerate() {
                let label = if number == 0 { label } else { "" };
                lines.push(format!("  {label:<9} {value}"));
            }
        }
        Ok(lines)
    }

    /// The same as one object.
    ///
    /// # Errors
    /// As for [`Plan::lines`].
    pub fn json(&self, more: &Circumstances) -> Result<Json> {
        let text = |text: &str| Json::Text(text.to_owned());
        let part = |part: &Part| {
            let mut members = vec![("place", text(&place(&part.place))), ("what", text(&part.what))];
            members.extend(part.options.as_deref().map(|options| ("options", text(options))));
            members.extend(part.by.map(|by| ("by", text(by))));
            Json::Object(members)
        };
        let mut members = vec![
            ("dry_run", Json::Bool(true)),
            ("name", Json::path(&self.name)),
            ("path", Json::path(&self.image.current)),
            ("source", Json::path(&self.source)),
            ("parts", Json::List(self.parts.iter().map(part).collect())),
            ("left_out", Json::List(self.left_out.iter().map(|mount| Json::path(&mount.path)).collect())),
            ("overlay", Json::Bool(self.overlay)),
        ];
        members.extend(self.lock.as_ref().map(|lock| ("lock", Json::path(lock))));
        let steps = self.cleanup.iter().flat_map(|cleanup| cleanup.steps());
        let steps = steps.filter(|(_, taken)| *taken).map(|(name, _)| text(name));
        members.push(("cleanup", Json::List(steps.collect())));
        if let Some(writing) = &self.writing {
            let (compressor, block_size) = engine::format(&writing.words);
            let patterns = writing.excludes();
            let patterns = patterns.patterns().iter().map(|pattern| Json::path(pattern.text()));
            members.push(("excludes", Json::List(patterns.collect())));
            members.push(("engine", text(writing.program.name())));
            members.push(("prefix", Json::List(writing.prefix.iter().map(Json::path).collect())));
            members.push(("compressor", Json::Text(compressor)));
            members.extend(block_size.map(|size| ("block_size", Json::Number(size.into()))));
            members.push(("audit", text(writing.audit_told())));
            members.push(("verify", Json::Bool(writing.verify)));
            if let Some(estimate) = &more.estimate {
                members.push(("data", Json::Number(estimate.data)));
                members.push(("expected_size", Json::Number(estimate.usual)));
            }
            members.extend(space::room_for(&self.image.temporary)?.map(|free| ("free", Json::Number(free))));
            let coming = self.succession()?;
            let kept = coming
                .moves
                .iter()
                .map(|(from, to)| Json::Object(vec![("from", Json::path(from)), ("to", Json::path(to))]));
            members.push(("renamed", Json::List(kept.collect())));
            members.push(("removed", Json::List(coming.lost.iter().map(Json::path).collect())));
            if let Kernel::Copied(pair, folder) = &self.kernel {
                let kernel = vec![
                    ("kernel", Json::path(&pair.kernel)),
                    ("initrd", Json::path(&pair.initrd)),
                    ("folder", Json::path(folder)),
                ];
                members.push(("kernel", Json::Object(kernel)));
            }
        }
        let code = more
            .code
            .iter()
            .map(|(name, when)| Json::Object(vec![("name", text(name)), ("when", text(when))]));
        members.push(("code", Json::List(code.collect())));
        Ok(Json::Object(members))
    }

    fn changes(&self) -> String {
        if self.overlay {
            return "are made in memory; the source stays as it is".to_owned();
        }
        format!("are made in {} itself, for good (OVERLAY=0)", shown(&self.source))
    }

    fn cleanup_told(&self) -> Vec<String> {
        let Some(cleanup) = &self.cleanup else {
            return vec!["none: accounts, passwords and keys would be in the image".to_owned()];
        };
        let names = |wanted| {
            let steps = cleanup.steps().filter(move |(_, taken)| *taken == wanted);
            steps.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
        };
        let mut told = vec![names(true)];
        let omitted = names(false);
        if !omitted.is_empty() {
            told.push(format!("omitted: {omitted}"));
        }
        told
    }

    fn size_told(&self, estimate: Option<&Estimate>) -> Result<Vec<String>> {
        let Some(estimate) = estimate else { return Ok(Vec::new()) };
        let free = space::room_for(&self.image.temporary)?;
        let free = free.map_or_else(String::new, |free| format!("; {} are free there", size(free)));
        let (data, usual) = (size(estimate.data), size(estimate.usual));
        Ok(vec![format!("{data} of files, of which about {usual} usually remain{free}")])
    }

    fn backups_told(&self) -> Result<Vec<String>> {
        let coming = self.succession()?;
        let lost = coming.lost.iter().map(|path| format!("{} would be gone", shown(path)));
        let moves =
            coming.moves.iter().map(|(from, to)| format!("{} would become {}", shown(from), shown(to)));
        Ok(lost.chain(moves).collect())
    }
}

impl Part {
    /// For a line of its own.
    pub fn announced(&self) -> String {
        format!("{} of the image: {}", place(&self.place), self.described())
    }

    fn told(&self) -> String {
        format!("{}: {}", place(&self.place), self.described())
    }

    fn described(&self) -> String {
        let options = self.options.as_deref().map(|options| format!(", mounted with {options}"));
        let by = self.by.map(|by| format!(", {by}"));
        format!("{}{}{}", self.what, options.unwrap_or_default(), by.unwrap_or_default())
    }
}

impl Kernel {
    fn told(&self) -> Vec<String> {
        match self {
            Self::Omitted => vec!["is not looked for".to_owned()],
            Self::Linked(folder) => {
                vec![format!("the boot directory of the chroot is linked into {}", shown(folder))]
            }
            Self::Copied(pair, folder) => vec![
                format!("{} would become {}", shown(&pair.kernel), shown(folder.join("vmlinuz"))),
                format!("{} would become {}", shown(&pair.initrd), shown(folder.join("initrd.img"))),
            ],
            Self::Missing(_) => vec!["none: clients could not boot".to_owned()],
        }
    }
}

impl Writing {
    fn excludes_told(&self, in_full: bool) -> Vec<String> {
        let list = &self.list;
        let count = |number: usize| format!("{number} pattern{}", if number == 1 { "" } else { "s" });
        let mut told = Vec::new();
        if list.list.is_empty() {
            told.push("none: image_excludes is omitted".to_owned());
        } else {
            let omitted = match list.omitted {
                0 => String::new(),
                number => format!(", without {number} that OMIT_IMAGE_EXCLUDES names"),
            };
            told.push(format!("{} of {}{omitted}", count(list.listed), list.list));
        }
        if list.patterns.len() > list.listed {
            told.push(format!("{} of {}", count(list.patterns.len() - list.listed), list.adder));
        }
        told.extend(self.emptied.iter().map(|path| format!("all that is in {}", shown(path))));
        if in_full {
            told.extend(
                self.excludes().patterns().iter().map(|pattern| format!("  {}", shown(pattern.text()))),
            );
        }
        told
    }

    fn program_told(&self) -> String {
        let (compressor, block_size) = engine::format(&self.words);
        let blocks = block_size.map_or_else(String::new, |size| format!(", blocks of {} KiB", size / 1024));
        let prefix = match &*self.prefix {
            [] => String::new(),
            prefix => format!(", run by `{}`", words(prefix.iter())),
        };
        format!("{}, {compressor}{blocks}{prefix}", self.program.name())
    }

    fn checks_told(&self) -> Vec<String> {
        let audit = match self.audit {
            Audit::Off => "the image is not searched for secrets",
            Audit::Warn => "secrets in the image are listed",
            Audit::Strict => "an image with secrets in it is not published",
        };
        let verify = self.verify.then_some("all of the image is compared with its source");
        [Some(audit), verify].into_iter().flatten().map(str::to_owned).collect()
    }

    fn audit_told(&self) -> &'static str {
        match self.audit {
            Audit::Off => "off",
            Audit::Warn => "warn",
            Audit::Strict => "strict",
        }
    }
}
