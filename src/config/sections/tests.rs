use std::path::PathBuf;

use super::*;
use crate::sys::coprocess::Output;

/// A folder for configuration files, and the facts of a server.
struct World {
    dir: tempfile::TempDir,
    session: Session,
    variables: Variables,
}

impl World {
    fn new() -> Self {
        let mut variables = Variables::from_environment(std::env::vars_os());
        for (name, value) in [
            ("MAC_ADDRESS", "02:00:00:00:00:67"),
            ("IP_ADDRESS", "192.168.67.1"),
            ("HOSTNAME", "oracle"),
            ("_APPLET", "image"),
        ] {
            variables.assign(name, value, Origin::Environment);
        }
        let session = Session::new("ltsp".as_ref(), Output::Ours, OWN);
        Self { dir: tempfile::tempdir().unwrap(), session, variables }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read_for(&mut self, selection: Selection<'_>, name: &str, text: &str) -> Result<Vec<String>> {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        let owner = rustix::process::geteuid().as_raw();
        evaluate(&path, selection, owner, &mut self.session, &mut self.variables)
    }

    fn read(&mut self, text: &str) -> Result<Vec<String>> {
        self.read_for(Selection { applet: "image", client: false }, "ltsp.conf", text)
    }

    fn value(&self, name: &str) -> &str {
        self.variables.get(name).map_or("-", |value| value.to_str().unwrap())
    }
}

/// The value of `A` after reading a file natively, and after a shell has evaluated it.
fn outcomes(text: &str) -> [String; 2] {
    let mut native = World::new();
    native.read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(native.variables.origin("A").is_none_or(|origin| matches!(origin, Origin::File(_, Some(_)))));
    let mut shell = World::new();
    let layout = Layout::parse(text.as_bytes()).unwrap();
    let script = script::of(&layout, Selection { applet: "image", client: false });
    let code = Code { text: &script, name: "the script", origin: &Origin::Default };
    shell.session.run(code, &mut shell.variables).unwrap_or_else(|error| panic!("{text}: {error}"));
    [native.value("A").to_owned(), shell.value("A").to_owned()]
}

// F31, F32, F33, F34: an A that grows shows which sections were evaluated, and in which order.
#[test]
fn the_sections_that_fit_are_evaluated_in_the_order_of_what_they_fit() {
    for (text, expected) in [
        ("A=${A}0\n[server]\nA=${A}s\n[common]\nA=${A}c\n[clients]\nA=${A}x\n", "0cs"),
        ("[192.168.67.1]\nA=${A}i\n[02:00:00:00:00:67]\nA=${A}m\n[server]\nA=${A}s\n", "smi"),
        ("[oracle]\nA=${A}h\n[192.168.67.1]\nHOSTNAME=named\n[named]\nA=${A}n\n", "n"),
        ("[image/]\nA=${A}1\n[image/oracle]\nA=${A}3\n[image/192.*]\nA=${A}2\n[kernel/]\nA=${A}x", "123"),
        ("[common]\nMAC_ADDRESS=aa\n[aa]\nA=${A}x\n[image/aa]\nA=${A}2\n[02:*]\nA=${A}1\n", "12"),
        ("[*]\nA=${A}*\n[server]\nA=${A}s\n[image/]\nA=${A}i\n", "*"),
        ("A=${A}0\n[ora*|x]\nA=${A}1\n[oracle]\nA=${A}2\n", "01"),
        ("[server]\nA=${A}1\n[SERVER]\nA=${A}2\n[common]\n", "2"),
        ("A=0\n[unnamed]\nA=${A}u\n[server]\nA=${A}s\n", "us"),
        ("[server]\nINCLUDE=extra\nA=${A}s\n[extra]\nA=${A}e\n[common]\nINCLUDE=\"Ex tra\" # x\n", "es"),
        ("[server]\nA=${A}s\nINCLUDE=common\nINCLUDE=nowhere\n[common]\nINCLUDE=server\nA=${A}c\n", "sc"),
        ("[server]\n INCLUDE=extra\nA=$INCLUDE\n[extra]\nA=x\n", "extra"),
        ("[Oracle]\nA=1\n[ORACLE*]\nA=${A}2\n", "1"),
        ("# nothing\n", "-"),
        ("A = 1\n", "1"),
        ("[server]\nB = x\nA=$B\\\n$B\n", "xx"),
    ] {
        assert_eq!(outcomes(text), [expected, expected], "{text}");
    }
}

// F31
#[test]
fn a_client_has_sections_of_its_own() {
    let text = "[server]\nA=${A}s\n[clients]\nA=${A}l\n[common]\nA=${A}c\n[image/]\nA=${A}i\n";
    for (client, applet, expected) in [(true, "image", "lci"), (true, "", "lc"), (false, "", "cs")] {
        let mut world = World::new();
        world.read_for(Selection { applet, client }, "ltsp.conf", text).unwrap();
        assert_eq!(world.value("A"), expected);
    }
}

// F33: words are not changed, names are.
#[test]
fn a_host_name_with_capitals_fits_only_a_pattern() {
    let mut world = World::new();
    world.variables.assign("HOSTNAME", "PC01", Origin::Environment);
    world.read("[PC01]\nA=1\n[??01]\nB=1\n").unwrap();
    assert_eq!((world.value("A"), world.value("B")), ("-", "1"));
}

// F20
#[test]
fn a_fact_that_is_not_known_fits_nothing_but_a_star() {
    let text = "[server]\n[common]\n[02:*]\nA=m\n[*.*]\nA=i\n[?*]\nA=h\n[*]\nB=1\n";
    let mut world = World::new();
    for name in ["MAC_ADDRESS", "IP_ADDRESS", "HOSTNAME"] {
        world.variables.unset(name);
    }
    world.read_for(Selection { applet: "", client: false }, "ltsp.conf", text).unwrap();
    assert_eq!((world.value("A"), world.value("B")), ("-", "1"));
}

// F34, Better
#[test]
fn a_second_file_is_evaluated_in_full() {
    for tail in ["", "[common]\nB=`echo`\n"] {
        let mut world = World::new();
        world.read(&format!("A=0\n[server]\nA=${{A}}1\n{tail}")).unwrap();
        world
            .read_for(
                Selection { applet: "image", client: false },
                "ltsp-image.conf",
                &format!("A=${{A}}2\n[server]\nA=${{A}}3\n{tail}"),
            )
            .unwrap();
        assert_eq!(world.value("A"), "0123", "{tail}");
    }
}

// F26
#[test]
fn code_is_evaluated_by_a_shell_with_functions_return_and_section_call() {
    for (text, expected) in [
        ("f() { A=$1; }\n[server]\nf 5\n", "5"),
        ("[server]\nif test \"$_APPLET\" = image; then\nINCLUDE=x\nfi\n[x]\nA=in\n", "in"),
        ("[server]\nA=1\nreturn 1\nA=2\n[common]\nfalse\nB=`echo`\n", "1"),
        ("[server]\nA=1\nfalse\n", "1"),
        ("[server]\nsection_call other common server\n[other]\nA=$(echo o)$A\n[common]\nA=c\n", "oc"),
        ("[esac]\nA=x\n[server]\nsection_call esac\n", "x"),
        ("[server]\nset -e\nfalse\nA=1\n", "1"),
        ("[server]\nfor A in 1 2; do break; done\nbreak\n", "1"),
        ("[server]\nA=$(cat <<E\nfoo\nE\n)\n", "foo"),
        ("[server]\nHOSTNAME=$(echo new)\n[new]\nA=h\n", "h"),
        ("[server]\nA=$IP_ADDRESS$(echo .)$0\n", "192.168.67.1.ltsp"),
    ] {
        let mut world = World::new();
        world.read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(world.value("A"), expected, "{text}");
    }
    let mut world = World::new();
    assert_eq!(world.read("[server]\nexit 9\n").unwrap_err().status(), 9);
    // A section that does not apply may hold anything.
    World::new().read("[clients]\nexit 9\n").unwrap();
}

// F28, F30
#[test]
fn a_mistake_anywhere_in_the_file_is_an_error_with_its_line() {
    for (text, line) in [
        ("A=1\n[server]\nB=\"x\n[common]\nC=\"y\"\n", 3),
        ("[clients]\n\nB='x\n", 3),
        ("[clients]\nif true; then\n[server]\nfi\n", 2),
        ("[clients]\nINCLUDE=x\nif true; then\nfi\n", 4),
        ("A=1\n\n[]\n", 3),
        ("A=1\n[server\nB=1\n", 2),
        ("\t[server]\nB=1\n", 1),
        ("[server]\nA=x)\n", 2),
        ("[server]\nA=1\n[server]\n", 0),
        ("[server]\n`\n[server]\n", 2),
    ] {
        let mut world = World::new();
        let result = world.read(text);
        if line == 0 {
            result.unwrap();
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.status(), 2, "{text}: {error}");
        let near = [line, line + 1].map(|line| format!("/ltsp.conf:{line}: syntax error: "));
        assert!(near.iter().any(|start| error.to_string().contains(start)), "{text}: {error}");
        assert_eq!(world.value("A"), "-");
    }
}

#[test]
fn code_is_run_only_if_nobody_else_can_have_written_it() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    world.read("[server]\nA=`echo 1`\n").unwrap();
    std::fs::set_permissions(world.path("ltsp.conf"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = world.read("[server]\n\nA=`echo 2`\n").unwrap_err().to_string();
    assert!(error.contains("/ltsp.conf:3: a command substitution needs a shell, but"), "{error}");
    assert_eq!(world.value("A"), "1");
    world.read("[server]\nA=3\n[clients]\nA=`echo 2`\n").unwrap();
    assert_eq!(world.value("A"), "3");
}

// F21
#[test]
fn a_missing_file_is_nothing_and_a_directory_an_error() {
    let mut world = World::new();
    let selection = Selection { applet: "image", client: false };
    let missing = world.path("missing");
    assert!(evaluate(&missing, selection, 0, &mut world.session, &mut world.variables).unwrap().is_empty());
    let dir = world.dir.path().to_owned();
    let error = evaluate(&dir, selection, 0, &mut world.session, &mut world.variables).unwrap_err();
    assert_eq!(error.status(), 2);
}

#[test]
fn what_is_easily_meant_otherwise_is_pointed_out() {
    let mut world = World::new();
    let warnings = world.read("A=1\n[ -d /x ] && A=2\n[ Server ]\nA=3\r\n").unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("/ltsp.conf:4: the line ends in a carriage return"), "{warnings:?}");
    assert!(warnings[1].contains("/ltsp.conf:2: this begins a section"), "{warnings:?}");
    assert_eq!(world.value("A"), "3\r");
}

#[test]
fn where_a_value_came_from_is_known() {
    let mut world = World::new();
    world.read("[server]\n\nA=1\n").unwrap();
    assert!(world.variables.origin("A").unwrap().to_string().ends_with("/ltsp.conf:3"));
    world.read("[server]\n\nA=`echo 2`\n").unwrap();
    assert!(world.variables.origin("A").unwrap().to_string().ends_with("/ltsp.conf"));
}
