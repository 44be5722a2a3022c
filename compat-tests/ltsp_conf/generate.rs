//! Configuration files from a seed: sections that fit and others, assignments in every form, includes, and
//! code.

use std::fmt;

/// What is configured.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `ltsp.conf`
    pub conf: String,
    /// `ltsp-image.conf`
    pub second: Option<String>,
    /// Options before the applet's name.
    pub options: Vec<String>,
}

impl fmt::Display for Files {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.conf)?;
        if let Some(second) = &self.second {
            write!(out, "\nltsp-image.conf:\n{second}")?;
        }
        write!(out, "\nltsp {} image", self.options.join(" "))
    }
}

/// Marsaglia's xorshift: the same files at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).expect("a small number")).expect("a small number")
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const SECTIONS: [&str; 25] = [
    "[common]",
    "[server]",
    "[Server] # of all",
    "  [SERVER]",
    "[ser ver]",
    "[clients]",
    "[aa:bb:cc:dd:ee:ff]",
    "[AA:BB:*]",
    "[*:*:ff|x]",
    "[10.1.2.3]",
    "[10.1.*]",
    "[pc01]",
    "[PC01]",
    "[pc??]",
    "[pc02]",
    "[x|pc0?]",
    "[image/]",
    "[image/pc0*]",
    "[image/10.1.2.3]",
    "[image/*]",
    "[kernel/]",
    "[extra]",
    "[ex-tra]",
    "[ex_tra]",
    "[*]",
];

/// Lines that are read without a shell. `@` becomes a number, so that it shows which were evaluated, and when.
const PLAIN: [&str; 18] = [
    "A=${A}@",
    "A = ${A}@",
    "A =${A}@",
    "A= ${A}@",
    " A=${A}@",
    "B=\"x  '$A' # no\" # comment",
    "C='two\n  lines $A'",
    "C=${B:-none}@ D=$C",
    "D=\\$A\\ @",
    "MKSQUASHFS_PARAMS=\"$MKSQUASHFS_PARAMS -x@\"",
    "BASE_DIR=$BASE_DIR/@",
    "TFTP_DIR=/t@",
    "HOSTNAME=pc02",
    "INCLUDE=extra",
    "include = \"Ex-Tra\"  # x",
    "Include=kernel/",
    " INCLUDE=pc01",
    "# A=comment",
];

/// Lines that need one.
const CODE: [&str; 12] = [
    "A=$(echo \"${A}\")@",
    "if test -n \"$A\"; then\nA=${A}t@\nINCLUDE=extra\nfi",
    "f@() { A=${A}f$1; }; f@ \"@\"",
    "section_call ex_tra nowhere",
    "case $HOSTNAME in pc01) A=${A}p ;; esac",
    "for w in 1 2; do A=$A$w; break; done",
    "test -n \"$nothing\" && A=never",
    "return 0",
    "A=$((${#A} + 7))",
    "D=`cat <<E\nhere $A\nE\n`",
    "unset B; : ${C:=set@}",
    "export A; D=$(sh -c 'echo \"$A\"')",
];

impl Files {
    pub fn generated(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut number = 0;
        // Half of them without a line of code.
        let code = random.below(2) == 0;
        let mut conf = String::new();
        body(&mut conf, &mut random, &mut number, code);
        for _ in 0..1 + random.below(9) {
            conf.push_str(random.pick(&SECTIONS));
            conf.push('\n');
            body(&mut conf, &mut random, &mut number, code);
        }
        // Only what the first file cannot have evaluated: the original ignores the rest (F34).
        let second = (random.below(3) == 0).then(|| {
            let mut second = String::from("[image/aa:bb:cc:dd:ee:ff]\n");
            body(&mut second, &mut random, &mut number, code);
            second
        });
        let options = ["-b/opt/base", "--tftp-dir=/opt/tftp", "-o", "-m", "-b", ""];
        let first = random.below(options.len());
        let options = match first {
            3 => vec!["-m".to_owned(), "/h".to_owned()],
            4 => vec!["-b".to_owned(), String::new()],
            5 => Vec::new(),
            other => vec![options[other].to_owned()],
        };
        Self { conf, second, options }
    }
}

fn body(text: &mut String, random: &mut Random, number: &mut u32, code: bool) {
    for _ in 0..random.below(5) {
        let line = if code && random.below(4) == 0 { random.pick(&CODE) } else { random.pick(&PLAIN) };
        *number += 1;
        text.push_str(&line.replace('@', &format!("{number}_")));
        text.push('\n');
    }
    // A command that fails at the end of the last section makes the original fail (it is a deliberate
    // difference).
    text.push_str(":\n");
}
