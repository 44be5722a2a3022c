//! `ltsp.conf` as the installed LTSP evaluates it and as we do: generated files, and the variables that a hook
//! sees after them. Needs root and the package ltsp.

#![allow(clippy::print_stdout)]

mod generate;
mod run;

use std::fs;

use generate::Files;
use run::{Outcome, Program, World};

/// How many generated configurations are compared, unless LTSP_CONF_CONFIGURATIONS says otherwise.
const CONFIGURATIONS: u64 = 150;

// F16, F17, F21 to F28, F31 to F35
#[test]
fn generated_configurations_set_the_same_variables() {
    let asked = std::env::var("LTSP_CONF_CONFIGURATIONS").ok();
    let count = asked.map_or(CONFIGURATIONS, |count| count.parse().expect("a number"));
    let mut read = 0;
    for seed in 0..count {
        let files = Files::generated(seed);
        let world = World::new(&files);
        let [theirs, ours] =
            [Program::Original, Program::Ours].map(|program| world.evaluate(program, &files.options));
        assert_eq!(theirs, ours, "seed {seed}: original and ours differ for\n{files}");
        read += u64::from(theirs.status == run::SEEN);
    }
    // Comparing nothing but mistakes would prove nothing.
    assert!(read > count / 3 * 2, "only {read} of {count} configurations were read by both");
}

// F12, F30
#[test]
fn mistakes_and_exits_have_the_status_of_the_original() {
    for (conf, status) in [
        ("[server]\nA='x\n", 2),
        ("[clients]\nA=\"x\n[server]\n", 2),
        ("[server]\nif true; then\n[common]\nfi\n", 2),
        ("[]\nA=1\n", 2),
        ("[server]\nA=x)\n", 2),
        ("[server]\nexit 7\n", 7),
        ("[common]\nexit 0\n", 0),
        ("[clients]\nexit 7\n", run::SEEN),
        ("[server]\nPRE_IMAGE_A='exit 9'\n", 9),
        ("[server]\nPRE_IMAGE_A='if'\n", 2),
    ] {
        let files = Files { conf: conf.to_owned(), ..Files::default() };
        let world = World::new(&files);
        for program in [Program::Original, Program::Ours] {
            assert_eq!(world.evaluate(program, &[]).status, status, "{program:?}: {conf}");
        }
    }
}

// F35: the order of hooks, and the status of the last command of the last one.
#[test]
fn hooks_run_in_the_same_order_and_see_the_same() {
    let conf = "f() { echo \"f $1 $CLEANUP\" >>/srv/out; }\n[server]\nPRE_IMAGE_b='f b'\nPRE_IMAGE_A='CLEANUP=0; f A'\n\
                PRE_IMAGE_A1='false; f A1'\nPRE_IMAGES_X='f no'\nPRE_IMAGE_EMPTY=\n";
    let files = Files { conf: conf.to_owned(), ..Files::default() };
    let world = World::new(&files);
    let seen = [Program::Original, Program::Ours].map(|program| world.evaluate(program, &[]));
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].text.starts_with("f A 0\nf A1 0\nf b 0\n"), "{seen:?}");
}

// F29, F34: where we are better on purpose.
#[test]
fn deliberate_differences_are_those_that_are_documented() {
    for (conf, second, theirs, ours) in [
        // A file without any section.
        ("A=1\n", None, "", "A=[1]"),
        // A second file with the sections of the first.
        ("[server]\nA=1\n", Some("C=t\n[server]\nA=2\n"), "A=[1] C=[]", "A=[2] C=[t]"),
        // A section whose name is a word of the shell.
        ("[server]\nINCLUDE=esac\n[esac]\nA=1\n", None, "", "A=[1]"),
        // A command that fails at the end of the last section that applies.
        ("[server]\nA=1\n[image/pc01]\nfalse\n", None, "", "A=[1]"),
    ] {
        let files = Files { conf: conf.to_owned(), second: second.map(str::to_owned), ..Files::default() };
        let world = World::new(&files);
        for (program, expected) in [(Program::Original, theirs), (Program::Ours, ours)] {
            let Outcome { status, text } = world.evaluate(program, &[]);
            assert_eq!(status == run::SEEN, !expected.is_empty(), "{program:?}: {conf}");
            for part in expected.split_whitespace() {
                assert!(text.contains(part), "{program:?}: {conf}: {text}");
            }
        }
    }
}

// F19
#[test]
fn the_facts_about_the_network_are_the_same() {
    for (network, device) in [
        ("ip addr add 192.168.67.1/24 dev eth0", "eth0"),
        ("ip addr add 10.0.0.5/24 dev eth0; ip route add default via 10.0.0.1", "eth0"),
        (
            "ip addr add 10.0.0.5/24 dev eth0; ip addr add 10.0.1.5/24 dev eth1; ip route add default via 10.0.0.1 metric 20; \
          ip route add default via 10.0.1.1 metric 10",
            "eth1",
        ),
        (
            "ip addr add 10.0.0.5/24 dev eth0; ip addr add 10.0.1.5/24 dev eth1; ip route add default via 10.0.0.1 metric 1; \
          ip route add 192.168.0.0/16 via 10.0.1.1 metric 90",
            "eth1",
        ),
    ] {
        let world = World::new(&Files { conf: "[server]\n".to_owned(), ..Files::default() });
        let facts = [Program::Original, Program::Ours].map(|program| world.facts(program, network));
        assert_eq!(facts[0], facts[1], "{network}");
        assert!(facts[0].contains(&format!("DEVICE=[{device}]")), "{network}: {}", facts[0]);
    }
}

// F20: the original refuses to run then.
#[test]
fn without_a_network_we_run() {
    let world = World::new(&Files { conf: "[server]\nA=1\n".to_owned(), ..Files::default() });
    let facts = world.facts(Program::Ours, ":");
    assert!(facts.contains("A=[1]") && facts.contains("IP_ADDRESS=[]"), "{facts}");
    assert!(fs::metadata(run::ORIGINAL).is_ok());
}
