use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::settings::Step;

/// A private `/etc` and `/run`.
struct World {
    dir: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
    globals: Globals,
}

impl World {
    /// Files below it, by path and text.
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let environment = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C")];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).into();
        Self { dir, environment, globals: Globals::default() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn load(&self, applet: &'static str) -> Result<Site> {
        self.load_with(applet, false)
    }

    fn load_with(&self, applet: &'static str, dry_run: bool) -> Result<Site> {
        let (etc, run) = (self.dir.path().join("etc"), self.dir.path().join("run"));
        let system =
            System { routes: "/nowhere".as_ref(), interfaces: "/nowhere".as_ref(), source: |_| None };
        let owner = rustix::process::geteuid().as_raw();
        let places = Places { etc: &etc, run: &run, owner, system };
        let start = Start { applet, globals: &self.globals, output: Output::Ours, dry_run };
        Site::load(start, places, self.environment.clone())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

fn value<'a>(site: &'a Site, name: &str) -> &'a str {
    site.variables.get(name).map_or("-", |value| value.to_str().unwrap())
}

// F13, F16, F17
#[test]
fn options_win_over_files_over_the_environment_over_defaults() {
    let mut world = World::new(&[
        (
            "etc/ltsp/ltsp.conf",
            "[server]\nX=$BASE_DIR:$TFTP_DIR\nBASE_DIR=/conf\nTFTP_DIR=/conf\nY=conf\nZ=$Y\n",
        ),
        ("etc/ltsp/ltsp-image.conf", "[server]\nY=$Y-image\n"),
    ])
    .with("TFTP_DIR", "/env")
    .with("Y", "env")
    .with("HOME_DIR", "");
    world.globals.given.push(("BASE_DIR", "base-dir", "/option".into()));
    let site = world.load("image").unwrap();
    for (name, expected) in [
        ("X", "/option:/env"),
        ("BASE_DIR", "/option"),
        ("TFTP_DIR", "/conf"),
        ("HOME_DIR", "/home"),
        ("Y", "conf-image"),
        ("Z", "conf"),
        ("LANG", "C.UTF-8"),
    ] {
        assert_eq!(value(&site, name), expected, "{name}");
    }
    let kernel = world.load("kernel").unwrap();
    assert_eq!(value(&kernel, "Y"), "conf");
}

// F18: what a started program sees, so that the kernel step reads the same files again on top of it.
#[test]
fn only_what_is_exported_reaches_the_environment_of_the_next_applet() {
    let world = World::new(&[("etc/ltsp/ltsp.conf", "A=1\nE=changed\nexport N=new\n")]).with("E", "env");
    let site = world.load("image").unwrap();
    let environment = site.environment();
    let get =
        |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    assert_eq!(get("A"), None);
    assert_eq!(get("E").unwrap(), "changed");
    assert_eq!(get("N").unwrap(), "new");
}

// F35
#[test]
fn hooks_see_functions_of_the_configuration_and_set_variables_for_the_applet() {
    let world = World::new(&[(
        "etc/ltsp/ltsp.conf",
        "greet() { echo \"$1 $CLEANUP\" >>$OUT; }\n[server]\n\
         PRE_IMAGE_B='greet \"b $X\"'\nPRE_IMAGE_A='X=a; CLEANUP=0; greet a'\nPOST_IMAGE_='greet \"post $X\"'\n",
    )])
    .with("PRE_IMAGE_ENV", "greet env")
    .with("PRE_KERNEL_K", "exit 9");
    let out = world.dir.path().join("out");
    let world = world.with("OUT", out.to_str().unwrap());
    let mut site = world.load("image").unwrap();
    assert_eq!(site.hooks(When::Before), ["PRE_IMAGE_A", "PRE_IMAGE_B", "PRE_IMAGE_ENV"]);
    site.run_hooks(When::Before).unwrap();
    assert_eq!(value(&site, "CLEANUP"), "0");
    site.variables.assign("CLEANUP", "later", Origin::Default);
    site.run_hooks(When::After).unwrap();
    assert_eq!(world.read("out"), "a 0\nb a 0\nenv 0\npost a later\n");
}

// F12, F35
#[test]
fn a_hook_that_fails_at_its_end_or_exits_ends_the_run() {
    for (hook, status) in [
        ("false\ntrue", 0),
        ("true\nfalse", 1),
        ("(exit 7)", 1),
        ("exit 7", 7),
        ("die enough", 1),
        ("if", 2),
        ("", 0),
    ] {
        let world = World::new(&[]).with("PRE_IMAGE_X", hook);
        let result = world.load("image").unwrap().run_hooks(When::Before);
        assert_eq!(result.as_ref().map_or_else(Error::status, |()| 0), status, "{hook}");
        if let Err(error) = result {
            assert!(error.to_string().contains("PRE_IMAGE_X"), "{error}");
        }
    }
}

#[test]
fn a_hook_from_a_file_that_others_can_write_is_not_run() {
    let world = World::new(&[("etc/ltsp/ltsp.conf", "PRE_IMAGE_X='touch /nowhere'\n")]);
    let path = world.dir.path().join("etc/ltsp/ltsp.conf");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = world.load("image").unwrap().run_hooks(When::Before).unwrap_err().to_string();
    assert!(error.contains("PRE_IMAGE_X") && error.contains("written by others"), "{error}");
}

// F38, F39
#[test]
fn drop_in_scripts_have_their_turn_and_see_the_image() {
    let world = World::new(&[
        (
            "etc/ltsp/server/image/60-site.sh",
            "site_main() { echo \"60 $_IMG_NAME $1 $_COW_DIR\" >>$OUT; PARAM=$1; }\n",
        ),
        ("run/ltsp/server/image/60-site.sh", "exit 9\n"),
        ("etc/ltsp/server/image/site.sh", "exit 9\n"),
        ("etc/ltsp/server/image/50-a.sh", "a_main() { echo 50 >>$OUT; }\nTOP=level\n"),
        ("etc/ltsp/server/image/51-none.sh", "helper() { :; }\n"),
        ("etc/ltsp/server/image/40-skipped.sh", "skipped_main() { exit 9; }\n"),
        ("etc/ltsp/server/image/41-omitted.sh", "omitted_main() { exit 9; }\n"),
        ("etc/ltsp/server/kernel/60-site.sh", "site_main() { echo \"kernel $*\" >>$OUT; }\n"),
    ])
    .with("LTSP_SKIP_SCRIPTS", "skipped")
    .with("OMIT_FUNCTIONS", "omitted_main rm;");
    let out = world.dir.path().join("out");
    let world = world.with("OUT", out.to_str().unwrap());
    let mut site = world.load("image").unwrap();
    assert_eq!(value(&site, "TOP"), "level");
    let image = Some((OsStr::new("foo"), Some(Path::new("/cow/it's"))));
    for stage in [Stage::Start, Stage::Mounted, Stage::Cleaned, Stage::End] {
        site.call(stage, &["foo,,b c".as_ref()], image).unwrap();
    }
    assert_eq!(world.read("out"), "50\n60 foo foo,,b c /cow/it's\n");
    assert_eq!(value(&site, "PARAM"), "foo,,b c");
    site.finish().unwrap();
    let mut kernel = world.load("kernel").unwrap();
    kernel.call(Stage::End, &["a".as_ref(), "b".as_ref()], None).unwrap();
    assert!(world.read("out").ends_with("kernel a b\n"));
}

// F39
#[test]
fn only_the_failure_of_the_last_function_of_all_counts() {
    let world = World::new(&[
        ("etc/ltsp/server/image/70-a.sh", "a_main() { false; }\n"),
        ("etc/ltsp/server/image/71-b.sh", "b_main() { return $B; }\n"),
    ]);
    for (b, fails) in [("0", false), ("3", true)] {
        let mut site = world.load("image").unwrap();
        site.variables.assign("B", b, Origin::Default);
        site.call(Stage::End, &[], None).unwrap();
        assert_eq!(site.finish().is_err(), fails);
    }
}

// F36, F39
#[test]
fn functions_of_ltsp_are_replaced_by_later_scripts_only_and_not_all_of_them_can_be() {
    let world = World::new(&[
        ("etc/ltsp/server/image/20-early.sh", "remove_printers() { exit 9; }\n"),
        ("etc/ltsp/server/image/60-late.sh", "remove_users() { echo mine >>$OUT; }\n"),
    ]);
    let out = world.dir.path().join("out");
    let world = world.with("OUT", out.to_str().unwrap());
    let mut site = world.load("image").unwrap();
    assert_eq!(site.replaced, BTreeSet::from([Step::Users]));
    site.call(Stage::Cleaned, &[], None).unwrap();
    assert_eq!(world.read("out"), "mine\n");

    let world = World::new(&[("etc/ltsp/server/image/55-cleanup.sh", "cleanup_main() { X=$((X+1)); }\n")]);
    let mut site = world.load("image").unwrap();
    assert_eq!(site.replaced, BTreeSet::from([Step::Cleanup]));
    site.call(Stage::Cleaned, &[], None).unwrap();
    assert_eq!(value(&site, "X"), "1");

    let world = World::new(&[("etc/ltsp/server/image/70-x.sh", "image_main() { :; }\n")]);
    let error = world.load("image").unwrap_err().to_string();
    assert!(error.contains("image_main"), "{error}");
}

#[test]
fn what_a_script_registers_is_undone_in_reverse_order_also_when_it_ends_the_run() {
    let script = "x_main() { exit_command 'echo one >>$OUT'; exit_command \"re false; echo no\"; \
                  exit_command \"rw false\"; exit_command 'echo two >>$OUT'; $END; }\n";
    for (end, expected) in [(":", "two\none\n"), ("die", "two\n")] {
        let script = script.replace("re false; echo no", if end == ":" { ":" } else { "exit 3" });
        let world = World::new(&[("etc/ltsp/server/image/60-x.sh", &script)]).with("END", end);
        let out = world.dir.path().join("out");
        let world = world.with("OUT", out.to_str().unwrap());
        let mut site = world.load("image").unwrap();
        let called = site.call(Stage::Cleaned, &[], None);
        assert_eq!(called.is_ok(), end == ":");
        site.undo().unwrap();
        site.undo().unwrap();
        assert_eq!(world.read("out"), expected);
    }
}

#[test]
fn a_script_that_others_can_write_is_refused_and_a_mistake_told_with_its_line() {
    let world = World::new(&[("etc/ltsp/server/image/60-x.sh", "A=1\nif\n")]);
    let error = world.load("image").unwrap_err();
    assert_eq!(error.status(), 2);
    assert!(error.to_string().contains("/60-x.sh:"), "{error}");
    let folder = world.dir.path().join("etc/ltsp/server/image");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = world.load("image").unwrap_err().to_string();
    assert!(error.contains("written by others"), "{error}");
    // Nothing of it is run to see what would be done.
    let site = world.load_with("image", true).unwrap();
    assert_eq!(site.drop_ins().len(), 1);
}

// F13 (1), (3)
#[test]
fn the_front_end_has_drop_in_scripts_of_its_own() {
    let world = World::new(&[
        ("etc/ltsp/common/ltsp/11-ltsp-distro.sh", "BASE_DIR=${BASE_DIR:-/distro}\n"),
        ("etc/ltsp/common/ltsp/60-x.sh", "X=$BASE_DIR\nx_main() { X=$X:$BASE_DIR:$_APPLET; }\n"),
        ("etc/ltsp/ltsp.conf", "X=$X:conf\n"),
    ]);
    let site = world.load("image").unwrap();
    assert_eq!(value(&site, "X"), "/distro:/distro:ltsp:conf");
}
