//! What an admin can put in the way of an applet: configuration, drop-in scripts and hooks, in the order of
//! a run (F13, F34 to F39).
//!
//! All of the admin's own code is run by one shell, so that a function of a configuration file can be called
//! by a hook, as in the original, which is that shell itself.

pub mod drop_ins;
pub mod hooks;
mod replaced;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::modern::{self, Globals, ImageRequest};
use crate::config::network::{self, System};
use crate::config::sections::{self, OWN, Selection};
use crate::config::settings::{ImageSettings, ModernKernelSettings, Step};
use crate::config::shell::session::{Code, Session};
use crate::config::shell::{self, trust};
use crate::config::variables::{Origin, Variables, is_name, words};
use crate::error::{During, Error, Result, shown};
use crate::sys::coprocess::Output;
use drop_ins::{DropIn, Stage};
use hooks::When;

/// What scripts can call, besides the programs of the machine.
const FUNCTIONS: &str = include_str!("functions.sh");

/// The script of the original that sets its defaults; drop-in scripts of the front end take their turn
/// before or after it.
const DEFAULTS: &str = "55-ltsp.sh";

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
    /// What the function of a drop-in script said that was called last (F39).
    last: Option<Error>,
}

impl Site {
    /// Reads configuration files and loads drop-in scripts on top of an environment; hooks are not run yet
    /// (F13, 1 to 10).
    ///
    /// # Errors
    /// When a file cannot be read or evaluated, a script must not be run or ends the program, or wants to
    /// replace what cannot be replaced.
    pub fn load(
        start: Start<'_>,
        places: Places<'_>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let mut site = Self {
            applet: start.applet,
            etc: places.etc.to_owned(),
            owner: places.owner,
            session: Session::new("ltsp".as_ref(), start.output, OWN).with_functions(FUNCTIONS),
            variables: Variables::from_environment(environment),
            drop_ins: Vec::new(),
            instead: Vec::new(),
            replaced: BTreeSet::new(),
            last: None,
        };
        modern::locale(&mut site.variables);
        site.front_end(start, places)?;
        network::facts(places.system, &mut site.variables);
        site.configure(start, places)?;
        site.drop_ins = drop_ins::list(&drop_ins::folders(places.run, places.etc, "server", start.applet))?;
        if !start.dry_run {
            site.load_drop_ins()?;
            site.find_replaced()?;
            site.omit_functions()?;
        }
        Ok(site)
    }

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
            if !skipped.iter().any(|name| *name == *script.name) && is_name(&function) {
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

    /// The front end's own drop-in scripts, defaults and options (F13, 1 to 3).
    fn front_end(&mut self, start: Start<'_>, places: Places<'_>) -> Result<()> {
        let scripts = drop_ins::list(&drop_ins::folders(places.run, places.etc, "common", "ltsp"))?;
        self.variables.assign("_APPLET", "ltsp", Origin::Default);
        let (before, after): (Vec<&DropIn>, Vec<&DropIn>) =
            scripts.iter().partition(|script| script.file_name() < DEFAULTS);
        if !start.dry_run {
            before.iter().try_for_each(|script| self.source(script))?;
        }
        modern::defaults(&mut self.variables);
        if !start.dry_run {
            after.iter().try_for_each(|script| self.source(script))?;
        }
        start.globals.apply(&mut self.variables);
        let skipped = modern::skipped(&self.variables);
        let scripts = scripts.iter().filter(|script| !skipped.iter().any(|name| *name == *script.name));
        for script in scripts.filter(|_| !start.dry_run) {
            let function = format!("{}_main", script.name);
            let name = shown(&script.path);
            if is_name(&function) {
                self.run(&replaced::call(&function, &[]), &name, &Origin::Code(name.clone()))?;
            }
        }
        Ok(())
    }

    /// The configuration files (F13, 5 to 7).
    fn configure(&mut self, start: Start<'_>, places: Places<'_>) -> Result<()> {
        self.variables.assign("_APPLET", start.applet, Origin::Default);
        let selection = Selection { applet: start.applet, client: places.run.join("ltsp/client").is_dir() };
        for name in ["ltsp.conf".to_owned(), format!("ltsp-{}.conf", start.applet)] {
            let path = places.etc.join("ltsp").join(name);
            let (session, variables) = (&mut self.session, &mut self.variables);
            for warning in sections::evaluate(&path, selection, places.owner, session, variables)? {
                log::warn!("{warning}");
            }
        }
        start.globals.win(&mut self.variables);
        Ok(())
    }

    /// Loads all drop-in scripts of the applet. Functions of LTSP are defined anew only by those that come
    /// after LTSP's own script, or in its place.
    fn load_drop_ins(&mut self) -> Result<()> {
        let scripts = self.drop_ins.clone();
        let mut own = replaced::own_scripts(self.applet).peekable();
        for script in &scripts {
            while let Some(before) = own.next_if(|own| OsStr::new(own.file) < script.file_name()) {
                self.forget(before.functions)?;
            }
            own.next_if(|own| own.file == script.file_name());
            self.source(script)?;
        }
        own.try_for_each(|script| self.forget(script.functions))
    }

    fn forget(&mut self, functions: &[&str]) -> Result<()> {
        if !self.session.is_running() {
            return Ok(());
        }
        let code = format!("unset -f {} || :\n", functions.join(" "));
        self.run(code.as_bytes(), "the drop-in scripts", &Origin::Default).map(drop)
    }

    /// Loads a drop-in script: its functions, and what it sets.
    fn source(&mut self, script: &DropIn) -> Result<()> {
        let path = &script.path;
        if let Some(reason) = trust::distrust(path, self.owner)? {
            return Err(Error::new("run the drop-in script", path, reason)
                .hint("make the file and its folder root's own (chown root, chmod go-w)"));
        }
        let text = std::fs::read(path).during("read the drop-in script", path)?;
        self.run(&text, &shown(path), &Origin::File(path.clone(), None)).map(drop)
    }

    /// Runs code after a look at its syntax.
    fn run(&mut self, text: &[u8], name: &str, origin: &Origin) -> Result<u8> {
        shell::check_syntax(Path::new(name), text).map_err(|error| error.with_status(2))?;
        self.session.run(Code { text, name, origin }, &mut self.variables)
    }

    /// Replaces functions of drop-in scripts that OMIT_FUNCTIONS names (F36).
    fn omit_functions(&mut self) -> Result<()> {
        let names = modern::functions_to_omit(&self.variables);
        if self.drop_ins.is_empty() || names.is_empty() {
            return Ok(());
        }
        let code: String =
            names.iter().map(|name| format!("{name}() {{ echo Omitting {name}; }}\n")).collect();
        self.run(code.as_bytes(), "OMIT_FUNCTIONS", &Origin::Default).map(drop)
    }

    /// Looks for functions of LTSP that drop-in scripts define anew (F39).
    fn find_replaced(&mut self) -> Result<()> {
        if self.drop_ins.is_empty() {
            return Ok(());
        }
        self.run(&replaced::question(self.applet), "the drop-in scripts", &Origin::Default)?;
        let found = words(self.variables.get(replaced::FOUND).unwrap_or_default());
        self.variables.unset(replaced::FOUND);
        let mains: Vec<String> = self.drop_ins.iter().map(|script| format!("{}_main", script.name)).collect();
        for name in found.iter().filter_map(|name| name.to_str()) {
            let (step, stage) = replaced::step(name)?;
            self.replaced.insert(step);
            // A script of that very name is called as such.
            if !mains.iter().any(|main| main == name) {
                self.instead.push((stage, name.to_owned()));
            }
        }
        Ok(())
    }
}
