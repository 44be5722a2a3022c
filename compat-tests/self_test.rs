//! Planted differences that the runner must report: a judge that finds nothing proves nothing.
//!
//! A few lines of shell do by hand what the recorded case `plain-micro` expects. They must pass as they are,
//! and with one more line that does something wrong they must fail, with exactly the differences that it makes.

use serde_json::{Value, json};

use crate::suite::{Basis, Check};
use crate::variants::merge;

/// The recorded case whose expectation is used.
pub const BASIS: &str = "plain-micro";

/// The parts of the right thing to do. `build` can be called again, with further arguments of mksquashfs.
const RIGHT: &str = r#"
set -e
image=/opt/ltsp/images/amd64.img
tftp=/srv/tftp/ltsp/amd64
exports=/etc/nbd-server/conf.d
chroot=/opt/ltsp/amd64
build() { mksquashfs "${source:-$chroot}" "$image" -noappend -quiet -no-progress "$@"; }
mkdir -p "${image%/*}" "$tftp"
build
for name in vmlinuz initrd.img; do
    cp "$chroot/boot/$name-6.1.0-1-amd64" "$tftp"
    ln -s "$name-6.1.0-1-amd64" "$tftp/$name-amd64"
done
allow='authfile = /etc/ltsp/nbd-server.allow'
printf '%s\n' '[/opt/ltsp/amd64]' "exportname = $image" 'readonly = true' "$allow" > "$exports/ltsp_amd64.conf"
printf '%s\n' '[swap]' 'exportname = /tmp/nbd-swap/%s' 'prerun = nbdswapd %s' 'postrun = rm -f %s' "$allow" > "$exports/swap.conf"
invoke-rc.d nbd-server stop
invoke-rc.d nbd-server start
"#;

/// What is wrong, the line of shell that does it, and how each reported difference begins.
const PLANTED: &[(&str, &str, &[&str])] = &[
    ("right", "", &[]),
    ("image-mode", "chmod 0600 $image", &["images > /opt/ltsp/images/amd64.img > mode:"]),
    ("image-owner", "chown 0:7 $image", &["images > /opt/ltsp/images/amd64.img > gid:"]),
    (
        "image-compressor",
        "build -comp xz",
        &["images > /opt/ltsp/images/amd64.img > superblock > compressor:"],
    ),
    (
        "image-uncompressed",
        "build -noI",
        &["images > /opt/ltsp/images/amd64.img > superblock > uncompressed:"],
    ),
    (
        "image-content",
        "cp -a $chroot /tmp/copy; echo MICRO > /tmp/copy/etc/hostname; \
         touch -d @1500000000 /tmp/copy/etc/hostname; source=/tmp/copy build; rm -r /tmp/copy",
        &["images > /opt/ltsp/images/amd64.img > tree > /etc/hostname > sha256:"],
    ),
    (
        "image-time",
        "cp -a $chroot /tmp/copy; touch -d @1400000000 /tmp/copy/etc/hostname; source=/tmp/copy build; \
         rm -r /tmp/copy",
        &["images > /opt/ltsp/images/amd64.img > tree > /etc/hostname > mtime:"],
    ),
    (
        "image-hard-link",
        "cp -a $chroot /tmp/copy; ln -f /tmp/copy/tmp/seen /tmp/copy/tmp/.hidden; \
         touch -d @1500000000 /tmp/copy/tmp; source=/tmp/copy build; rm -r /tmp/copy",
        &[
            "images > /opt/ltsp/images/amd64.img > hardlinks:",
            "images > /opt/ltsp/images/amd64.img > tree > /tmp/.hidden > sha256:",
            "images > /opt/ltsp/images/amd64.img > tree > /tmp/.hidden > size:",
        ],
    ),
    (
        "image-lacks-a-file",
        "build -e $chroot/tmp/seen",
        &["images > /opt/ltsp/images/amd64.img > tree > /tmp/seen: missing"],
    ),
    (
        "image-has-a-file-more",
        "build -p '/etc/extra f 644 0 0 echo extra'",
        &["images > /opt/ltsp/images/amd64.img > tree > /etc/extra: unexpected"],
    ),
    ("image-cut-short", "truncate -s 500 $image", &["images > /opt/ltsp/images/amd64.img: expected"]),
    ("image-missing", "rm $image", &["images > /opt/ltsp/images/amd64.img: missing"]),
    (
        "image-more",
        "cp $image $image.tmp",
        &["images > /opt/ltsp/images/amd64.img.tmp: unexpected: {\"gid\":0"],
    ),
    (
        "file-mode",
        "chmod 0600 $tftp/vmlinuz-6.1.0-1-amd64",
        &["files > /srv/tftp/ltsp/amd64/vmlinuz-6.1.0-1-amd64 > mode:"],
    ),
    (
        "file-text",
        "echo Kernel 6.1.0-1-amd64 > $tftp/vmlinuz-6.1.0-1-amd64",
        &["files > /srv/tftp/ltsp/amd64/vmlinuz-6.1.0-1-amd64 > text:"],
    ),
    (
        "file-target",
        "ln -sf nowhere $tftp/vmlinuz-amd64",
        &["files > /srv/tftp/ltsp/amd64/vmlinuz-amd64 > target:"],
    ),
    ("file-more", "echo > $exports/extra", &["files > /etc/nbd-server/conf.d/extra: unexpected"]),
    ("file-missing", "rm $exports/swap.conf", &["files > /etc/nbd-server/conf.d/swap.conf: missing"]),
    (
        "file-changed",
        "echo >> $exports/../config",
        &["files > /etc/nbd-server/config: expected \"unchanged\""],
    ),
    ("file-removed", "rm $exports/../config", &["files > /etc/nbd-server/config: expected \"unchanged\""]),
    (
        "file-hard-link",
        "ln $exports/swap.conf $exports/more",
        &["files > /etc/nbd-server/conf.d/more: unexpected", "hardlinks: unexpected"],
    ),
    (
        "chroot-changed",
        "echo x > $chroot/etc/hostname",
        &["elsewhere > /opt/ltsp/amd64/etc/hostname: unexpected"],
    ),
    (
        "chroot-rewritten",
        "echo micro > $chroot/etc/hostname",
        &["elsewhere > /opt/ltsp/amd64/etc/hostname: unexpected: {\"rewritten\":true}"],
    ),
    ("chroot-removed", "rm $chroot/tmp/seen", &["elsewhere > /opt/ltsp/amd64/tmp/seen: unexpected"]),
    ("root-changed", "chmod 0600 /etc/passwd", &["elsewhere > /etc/passwd: unexpected"]),
    (
        "root-rewritten",
        "cp /etc/passwd /etc/x; mv /etc/x /etc/passwd",
        &["elsewhere > /etc/passwd: unexpected: {\"rewritten\":true}"],
    ),
    ("root-more", "mkdir /etc/extra", &["elsewhere > /etc/extra: unexpected"]),
    (
        "left-mount",
        "mount -t tmpfs -o mode=0755 tmpfs /mnt",
        &["leftovers > mounts: expected [], observed [{\"path\":\"/mnt\",\"type\":\"tmpfs\"}]"],
    ),
    ("left-loop", "losetup -f $image", &["leftovers > loops: expected 0, observed 1"]),
    (
        "left-process",
        "sleep 30 > /dev/null 2>&1 &",
        &["leftovers > processes: expected [], observed [\"sleep\"]"],
    ),
    (
        "left-temporary",
        "mktemp -d > /dev/null",
        &["leftovers > temporary: expected [], observed [{\"in\":\"/tmp\",\"type\":\"dir\"}]"],
    ),
    ("service", "invoke-rc.d nbd-server reload", &["services: expected"]),
    ("status", "exit 3", &["exit: expected 0, observed 3"]),
    ("killed", "kill -TERM $$", &["exit: expected 0, observed \"signal TERM\""]),
    ("standard-error", "echo oops >&2", &["stderr_empty: expected true, observed false"]),
];

/// The checks of the runner itself, made from the recorded case [`BASIS`].
///
/// # Errors
/// The recorded case is no JSON object.
pub fn checks(basis: &str) -> Result<Vec<Check>, String> {
    let basis: Value = serde_json::from_str(basis).map_err(|error| error.to_string())?;
    let mut checks = Vec::new();
    for (name, line, reported) in PLANTED {
        checks.push(check(&basis, name, line, reported, &json!({})));
    }
    checks.extend(with_other_cases(&basis));
    Ok(checks)
}

/// Checks for which the case itself is changed, too.
fn with_other_cases(basis: &Value) -> Vec<Check> {
    let attribute = json!({"setup": {"xattrs": {"/opt/ltsp/amd64/bin/true": {"user.note": "text"}}}});
    let environment = json!({"setup": {"cwd": "/srv", "env": {"GREETING": "hello", "HOME": null}}});
    let mount = json!({"setup": {"mounts": [{"at": "/srv/data", "type": "tmpfs", "options": "mode=0755"}]}});
    let process = json!({"name": "dpkg", "lock": "/etc/fstab", "seconds": 3, "then": {"/etc/late": "late"}});
    let signal = json!({"signal": {"name": "INT", "to": "group", "when": {"process": "sleep"}}});
    let late_signal = json!({"signal": {"name": "TERM", "when": {"after": 50}}});
    let ignored = json!({"expect": {"exit": 7}, "ignore": ["stdout_empty", "ex*"]});
    let text = json!({"observe": {"text": ["/etc/host*"]}});
    let members = json!({
        "setup": {"files": {"/opt/ltsp/amd64/etc/gshadow": "b:!::z,a\na:!::\n"}},
        "observe": {"text": ["/etc/gshadow"], "accounts": true}
    });
    let volatile = json!({
        "setup": {"files": {"/opt/ltsp/amd64/etc/key": "-----BEGIN A KEY-----\nold\n"}},
        "observe": {"volatile": ["/etc/key*"]}
    });
    let checks: [(&str, &str, &[&str], Value); 14] = [
        ("mention", "", &["stderr does not mention \"zebra\""], json!({"stderr_mentions": ["zebra"]})),
        ("failure", "", &["exit: expected a failure"], json!({"expect": {"exit": "failure"}})),
        ("ignored", "", &[], ignored),
        ("time-limit", "sleep 30", &["exit: expected 0, observed \"killed"], json!({"timeout": 4.0})),
        ("signal", "sleep 30", &["exit: expected 0, observed \"signal INT\""], signal),
        (
            "signal-not-sent",
            "",
            &["exit: expected 0, observed \"0 before the signal was sent\""],
            late_signal,
        ),
        (
            "image-attribute",
            "",
            &[
                "images > /opt/ltsp/images/amd64.img > superblock > xattrs:",
                "images > /opt/ltsp/images/amd64.img > tree > /bin/true > xattrs: unexpected",
            ],
            attribute,
        ),
        (
            "image-text",
            "",
            &[
                "images > /opt/ltsp/images/amd64.img > tree > /etc/hostname > sha256: missing",
                "images > /opt/ltsp/images/amd64.img > tree > /etc/hostname > text: unexpected: \"micro\\n\"",
            ],
            text,
        ),
        (
            "image-members",
            "",
            &["images > /opt/ltsp/images/amd64.img > tree > /etc/gshadow: unexpected: \
               {\"gid\":0,\"mode\":\"0644\",\"size\":15,\"text\":\"b:!::a,z\\na:!::\\n\""],
            members,
        ),
        (
            "image-volatile",
            "build -p '/etc/key-new f 644 0 0 echo ssh-rsa xyz' -p '/etc/key-none f 644 0 0 true'",
            &[
                "images > /opt/ltsp/images/amd64.img > tree > /etc/key: unexpected: \
                 {\"begins\":\"-----BEGIN A KEY-----\",\"content\":\"old\",\"gid\"",
                "images > /opt/ltsp/images/amd64.img > tree > /etc/key-new: unexpected: \
                 {\"begins\":\"ssh-rsa\",\"content\":\"new\",\"gid\"",
                "images > /opt/ltsp/images/amd64.img > tree > /etc/key-none: unexpected: \
                 {\"content\":\"empty\",\"gid\"",
            ],
            volatile,
        ),
        (
            "environment",
            "[ \"$PWD $(umask) $GREETING ${HOME-none}\" = '/srv 0022 hello none' ]; ! true 2> /dev/null < /dev/tty",
            &[],
            environment,
        ),
        ("unmounted", "umount /srv/data", &["unmounted: unexpected: [\"/srv/data\"]"], mount),
        (
            "process",
            "grep -q POSIX /proc/locks",
            &["elsewhere > /etc/late: unexpected"],
            json!({"settle": 5, "setup": {"files": {"/etc/fstab": ""}, "processes": [process]}}),
        ),
        (
            "untouched-by-processes",
            "pgrep -x nbd-server > /dev/null; pkill -HUP -x nbd-server; sleep 0.2; pgrep -x nbd-server > /dev/null",
            &[],
            json!({"setup": {"processes": [{"name": "nbd-server"}]}}),
        ),
    ];
    checks.iter().map(|(name, line, reported, change)| check(basis, name, line, reported, change)).collect()
}

/// Live cases in which both do the same, or not.
pub fn live_checks() -> Vec<Check> {
    let check = |name: &str, change: Value, reports: &[&str]| {
        let mut case = json!({"id": name, "title": "", "argv": ["true"], "expect": {"exit": 0}});
        merge(&mut case, &change);
        Check {
            name: format!("live/self-test-{name}"),
            title: if reports.is_empty() { "is accepted" } else { "is reported" }.to_owned(),
            case: case.to_string(),
            basis: Basis::Live,
            reports: reports.iter().map(|start| (*start).to_owned()).collect(),
        }
    };
    vec![
        check("same", json!({}), &[]),
        check(
            "least",
            json!({"expect": {"exit": 2, "unmounted": []}}),
            &["the original: exit: expected 2, observed 0", "the original does not show unmounted"],
        ),
        check(
            "deviation",
            json!({"deviation": {"reason": "", "expect": {"exit": 3}}}),
            &["exit: expected 3"],
        ),
        check(
            "content",
            json!({"argv": ["sh", "-c", "ltsp --version > /etc/ltsp/version"], "setup": {"dirs": ["/etc/ltsp"]}}),
            &["files > /etc/ltsp/version > size:", "files > /etc/ltsp/version > text:"],
        ),
        check(
            "command",
            // Only the original's is a link.
            json!({"commands": ["true", "readlink /usr/sbin/ltsp"], "expect": {"exit": 0}}),
            &[
                "the original does not show exit",
                "fails without a word: ",
                "commands > readlink /usr/sbin/ltsp > exit: expected 0, observed 1",
                "commands > readlink /usr/sbin/ltsp > stdout_empty: expected false, observed true",
            ],
        ),
    ]
}

fn check(basis: &Value, name: &str, line: &str, reported: &[&str], change: &Value) -> Check {
    let mut case = basis.clone();
    case["argv"] = json!(["sh", "-c", format!("{RIGHT}{line}")]);
    merge(&mut case, change);
    let title = match reported {
        [] => "is accepted",
        _ => "is reported",
    };
    Check {
        name: format!("self-test-{name}"),
        title: title.to_owned(),
        case: case.to_string(),
        basis: Basis::Case,
        reports: reported.iter().map(|start| (*start).to_owned()).collect(),
    }
}
