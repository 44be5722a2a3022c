//! The surroundings of an applet, put together: configuration files and drop-in scripts (F13, 1 to 10).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use super::drop_ins::{self, DropIn};
use super::{OMIT, Places, Site, Start, replaced};
use crate::config::modern;
use crate::config::network;
use crate::config::sections::{self, OWN, Selection};
use crate::config::shell::session::Session;
use crate::config::shell::trust;
use crate::config::variables::{Origin, Variables, is_name, words};
use crate::error::{During, Error, Result, shown};

/// What scripts can call, besides the programs of the machine.
const FUNCTIONS: &str = include_str!("functions.sh");

/// The script of the original that sets its defaults; drop-in scripts of the front end take their turn
/// before or after it.
const DEFAULTS: &str = "55-ltsp.sh";

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
            omit: None,
            last: None,
        };
        modern::locale(&mut site.variables);
        site.debug_messages_of("ltsp");
        site.front_end(start, places)?;
        network::facts(places.system, &mut site.variables);
        site.configure(start, places)?;
        site.debug_messages();
        site.drop_ins = drop_ins::list(&drop_ins::folders(places.run, places.etc, "server", start.applet))?;
        if !start.dry_run {
            site.load_drop_ins()?;
            site.find_replaced()?;
            site.omit_functions()?;
        }
        site.omit = Some(site.variables.get(OMIT).unwrap_or_default().to_owned());
        Ok(site)
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
                log::trace!("running {function} of {name}");
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
        log::trace!("loading {}", shown(path));
        if let Some(reason) = trust::distrust(path, self.owner)? {
            return Err(Error::new("run the drop-in script", path, reason)
                .hint("make the file and its folder root's own (chown root, chmod go-w)"));
        }
        let text = std::fs::read(path).during("read the drop-in script", path)?;
        self.run(&text, &shown(path), &Origin::File(path.clone(), None)).map(drop)
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
        // One that takes the place of our own leaves nothing of it, as an empty one does on purpose (F38).
        let own = replaced::own_scripts(self.applet).filter_map(|own| Some((own.file, own.step?)));
        for (file, step) in own {
            if self.drop_ins.iter().any(|script| script.file_name() == file) {
                self.replaced.insert(step);
            }
        }
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
