//! What an admin can put in the way of an applet: configuration, drop-in scripts and hooks, in the order of
//! a run (F13, F34 to F39).
//!
//! All of the admin's own code is run by one shell, so that a function of a configuration file can be called
//! by a hook, as in the original, which is that shell itself.

mod debug;
pub mod drop_ins;
pub mod hooks;
mod load;
mod replaced;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::modern::{self, Globals, ImageRequest};
use crate::config::network::System;
use crate::config::settings::{ImageSettings, ModernKernelSettings, Step};
use crate::config::shell;
use crate::config::shell::session::{Code, Session};
use crate::config::variables::{Origin, Variables, is_name};
use crate::error::{Error, Result, shown};
use crate::sys::coprocess::Output;
use drop_ins::{DropIn, Stage};
use hooks::When;

/// Functions that are to do nothing (F36).
const OMIT: &str = "OMIT_FUNCTIONS";

/// Where an applet's files and facts are.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// `/etc`, outside tests.
    pub etc: &'a Path,
    /// `/run`, outside tests.
    pub run: &'a Path,
    /// Whose files may be run: 0, outside tests.
    pub owner: u32,
    /// The network.
    pub system: System<'a>,
}

impl Places<'_> {
    /// Those of this machine.
    pub fn this() -> Self {
        Self { etc: Path::new("/etc"), run: Path::new("/run"), owner: 0, system: System::this() }
    }
}

/// What an applet is started with.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Its name.
    pub applet: &'static str,
    /// The options before its name.
    pub globals: &'a Globals,
    /// Where what code prints goes.
    pub output: Output,
    /// Nothing may be changed: drop-in scripts are not loaded, hooks not run. Code in configuration files
    /// is, as settings depend on it.
    pub dry_run: bool,
}

/// The surroundings of an applet.
#[derive(Debug)]
pub struct Site {
    applet: &'static str,
    etc: PathBuf,
    owner: u32,
    session: Session,
    /// What is set, at any time.
    pub variables: Variables,
    drop_ins: Vec<DropIn>,
    /// Functions of scripts that stand for steps of ours, and when to call them.
    instead: Vec<(Stage, String)>,
    replaced: BTreeSet<Step>,
    /// What OMIT_FUNCTIONS was when everything was loaded: what sets it later comes too late (F13).
    omit: Option<OsString>,
    /// What the function of a drop-in script said that was called last (F39).
    last: Option<Error>,
}

impl Site {
    /// Runs the applet's hooks of a kind; settings have to be taken from the variables afterwards.
    ///
    /// # Errors
    /// With status 1 when the last command of the last hook fails; with its own when one ends the program
    /// (F35).
    pub fn run_hooks(&mut self, when: When) -> Result<()> {
        let names = self.hooks(when);
        let Some(last) = names.last() else { return Ok(()) };
        let script = hooks::script(&self.variables, &names, self.owner)?;
        let name = names.join(", ");
        log::trace!("running {name}");
        match self.run(&script, &name, &Origin::Code(name.clone()))? {
            0 => Ok(()),
            status => Err(Error::action(
                format!("run {last}"),
                format!("its last command ended with status {status}"),
            )
            .hint("put `|| true` behind a command that may fail")),
        }
    }

    /// The names of the applet's hooks of a kind.
    pub fn hooks(&self, when: When) -> Vec<String> {
        hooks::names(&self.variables, when, self.applet)
    }

    /// The drop-in scripts, in their order.
    pub fn drop_ins(&self) -> &[DropIn] {
        &self.drop_ins
    }

    /// All of the admin's code that the applet would run, in its order, and when.
    pub fn code(&self) -> Vec<(String, &'static str)> {
        let when = |stage| match (self.applet, stage) {
            ("kernel", Stage::Start) => "before the kernel is copied",
            ("kernel", _) => "after the kernel is copied",
            (_, Stage::Start) => "before the source is mounted",
            (_, Stage::Mounted) => "when the source is mounted",
            (_, Stage::Cleaned) => "when the source is cleaned",
            (_, Stage::End) => "when the image is published",
        };
        let (first, last) = match self.applet {
            "kernel" => ("before the kernel step", "after the kernel step"),
            _ => ("before everything", "after everything"),
        };
        let hooks = |kind, when| self.hooks(kind).into_iter().map(move |name| (name, when));
        let skipped = modern::skipped(&self.variables);
        let scripts = self.drop_ins.iter().filter(|script| !skipped.iter().any(|name| *name == *script.name));
        let scripts = scripts.map(|script| (shown(&script.path), when(script.stage(self.applet))));
        hooks(When::Before, first).chain(scripts).chain(hooks(When::After, last)).collect()
    }

    /// The settings of `ltsp image` by the variables as they are now, and what there is to warn about. Steps
    /// that drop-in scripts do in our place are left out.
    ///
    /// # Errors
    /// When a value has no meaning.
    pub fn image_settings(&self, request: &ImageRequest) -> Result<(ImageSettings, Vec<String>)> {
        let (mut settings, warnings) =
            modern::image_settings(&self.variables, request.clone(), &self.etc, self.owner)?;
        settings.cleanup &= !self.replaced.contains(&Step::Cleanup);
        settings.omitted.extend(&self.replaced);
        Ok((settings, warnings))
    }

    /// The same of `ltsp kernel`.
    ///
    /// # Errors
    /// When a value has no meaning.
    pub fn kernel_settings(&self, sources: Vec<OsString>) -> Result<ModernKernelSettings> {
        let mut settings = modern::kernel_settings(&self.variables, sources)?;
        settings.omitted.extend(&self.replaced);
        Ok(settings)
    }

    /// Gives the drop-in scripts of a stage their turn, with these arguments. For an image, `image` is its
    /// name, and its root once that is mounted. Settings have to be taken from the variables afterwards.
    ///
    /// A function that fails does not stop the others (F39).
    ///
    /// # Errors
    /// When one ends the program.
    pub fn call(
        &mut self,
        stage: Stage,
        arguments: &[&OsStr],
        image: Option<(&OsStr, Option<&Path>)>,
    ) -> Result<()> {
        let skipped = modern::skipped(&self.variables);
        let instead = self.instead.iter().filter(|(when, _)| *when == stage);
        let mut functions: Vec<(String, String)> = instead
            .map(|(_, name)| (name.clone(), format!("the function {name} of a drop-in script")))
            .collect();
        for script in self.drop_ins.iter().filter(|script| script.stage(self.applet) == stage) {
            let function = format!("{}_main", script.name);
            if skipped.iter().any(|name| *name == *script.name) {
                log::trace!("skipping {function} of {}", shown(&script.path));
            } else if is_name(&function) {
                functions.push((function, shown(&script.path)));
            }
        }
        if functions.is_empty() {
            return Ok(());
        }
        if let Some((name, root)) = image {
            let origin = Origin::Code("the image".into());
            self.variables.assign("_IMG_NAME", name, origin.clone());
            self.variables.assign("_COW_DIR", root.unwrap_or(Path::new("")), origin);
        }
        for (function, script) in functions {
            log::trace!("running {function} of {script}");
            let code = replaced::call(&function, arguments);
            let origin = Origin::Code(script.clone());
            self.last = match self.run(&code, &script, &origin)? {
                0 => None,
                status => {
                    let error = Error::action(
                        format!("run {script}"),
                        format!("{function} ended with status {status}"),
                    );
                    log::warn!("{error}");
                    Some(error)
                }
            };
        }
        Ok(())
    }

    /// Undoes what scripts have asked to be undone when the image is finished, the last one first.
    ///
    /// # Errors
    /// When code ends the program.
    pub fn undo(&mut self) -> Result<()> {
        if !self.session.is_running() {
            return Ok(());
        }
        let code = b"set -- \"${_ltsp_undo-}\"; _ltsp_undo=; eval \"$1\"\n:\n";
        self.run(code, "what drop-in scripts undo", &Origin::Code("a drop-in script".into())).map(drop)
    }

    /// To be called when all is done: a function of the last stage that was the very last one to be called
    /// makes the run fail if it failed (F39).
    ///
    /// # Errors
    /// When it did.
    pub fn finish(&mut self) -> Result<()> {
        self.last.take().map_or(Ok(()), Err)
    }

    /// What a program started by this applet would find in its environment.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let foreign = std::env::vars_os().filter(|(name, _)| !name.to_str().is_some_and(is_name));
        let exported = self.variables.iter().filter(|(.., exported)| *exported);
        let exported = exported.map(|(name, value, _)| (name.into(), value.to_owned()));
        foreign.chain(exported).collect()
    }

    /// Runs code after a look at its syntax.
    fn run(&mut self, text: &[u8], name: &str, origin: &Origin) -> Result<u8> {
        shell::check_syntax(Path::new(name), text).map_err(|error| error.with_status(2))?;
        let status = self.session.run(Code { text, name, origin }, &mut self.variables)?;
        if let Some(omit) = self.omit.as_ref().filter(|omit| self.variables.get(OMIT) != Some(omit)) {
            self.variables.assign(OMIT, omit, Origin::Default);
        }
        Ok(status)
    }
}
