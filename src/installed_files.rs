//! Tests of the files in `etc`, which are installed in `/etc/ltsp`.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::legacy::{self, Sources};
use crate::excludes;
use crate::nbd::real_server::{Client, RealServer, image};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The lines that are no comments.
fn lines(name: &str) -> Vec<String> {
    let text = text(name);
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

// X8: a sample changes nothing; S9, N30: the names are those that the tools know
#[test]
fn the_samples_set_nothing_and_show_settings_that_can_be_read() {
    let samples: [(&str, &[&str]); 4] = [
        ("ltsp-server", &["BASE", "TFTP_BOOT_DIR", "TFTP_DIRS"]),
        (
            "ltsp-update-image",
            &[
                "BASE",
                "CLEANUP",
                "COMPRESSION",
                "CONFIG_NBD",
                "EXCLUDE",
                "EXCLUDED_MOUNTS",
                "EXCLUDE_FILE",
                "NO_BACKUP",
                "NO_COMPRESS",
                "REVERT",
            ],
        ),
        ("ltsp-update-kernels", &["PREFER_NBD_IMAGE"]),
        ("nbdswapd", &["NBD_SERVER_OPTS", "RUN_MKSWAP", "SIZE", "SWAP", "SWAPDIR"]),
    ];
    for (tool, names) in samples {
        let file = format!("{tool}.conf");
        assert!(lines(&file).is_empty(), "{file}");
        let shown: Vec<String> =
            text(&file).lines().filter_map(|line| Some(line.strip_prefix('#')?.to_owned())).collect();
        let shown: Vec<&String> =
            shown.iter().filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase())).collect();

        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("ltsp")).unwrap();
        let joined: String = shown.iter().map(|line| format!("{line}\n")).collect();
        fs::write(etc.path().join("ltsp").join(&file), joined).unwrap();
        let sources = Sources { tool, called_as: OsStr::new(tool), etc: etc.path(), owner: 0 };
        let read = legacy::load(sources, []).unwrap();
        assert_eq!(read.warnings, Vec::<String>::new(), "{file}");

        let mut found = Vec::new();
        for line in shown {
            let (name, value) = line.split_once('=').unwrap();
            assert_eq!(read.variables.get(name), Some(OsStr::new(value.trim_matches('"'))), "{file}: {line}");
            found.push(name);
        }
        found.sort_unstable();
        assert_eq!(found, names, "{file}");
    }
}

// X1, X5
#[test]
fn the_exclude_list_has_all_of_the_original_s_and_can_be_read() {
    let patterns = lines("ltsp-update-image.excludes");
    assert_eq!(excludes::read_file(&path("ltsp-update-image.excludes")).unwrap().len(), patterns.len());
    for pattern in &patterns {
        assert_eq!(pattern.trim(), pattern);
    }
    let original = "cdrom/* etc/.bzr/ etc/_darcs etc/epoptes/server.key etc/.etckeeper etc/.git/ etc/.hg/ \
        etc/mysql/debian.cnf etc/NetworkManager/system-connections/* etc/udev/rules.d/??-persistent-*.rules \
        home/* lost+found/* media/* mnt/* opt/ltsp* proc/* root/.* root/* run/* snap/* srv/* swapfile tmp/.* \
        tmp/* var/backups/* var/cache/apt/archives/*.deb var/cache/apt/archives/partial/* \
        var/cache/apt-xapian-index/* var/cache/lightdm/dmrc/* var/crash/* var/lib/apt/lists/* \
        var/lib/lightdm/.* var/lib/lightdm/* var/lib/mysql/* var/lib/sudo/* var/log/*.1 var/log/*.gz \
        var/log/*.old var/log/journal/* var/mail/* var/spool/cron/atjobs/* var/spool/cron/atspool/* \
        var/spool/cron/crontabs/* var/spool/squid3/* var/tmp/.* var/tmp/*";
    for pattern in original.split_whitespace() {
        assert!(patterns.iter().any(|ours| ours == pattern), "{pattern} is missing");
    }
}

// N20, D26
#[test]
fn the_address_list_has_networks_only_and_admits_this_machine() {
    let networks = lines("nbd-server.allow");
    for network in &networks {
        let (address, bits) = network.split_once('/').unwrap();
        let longest = if address.parse::<IpAddr>().unwrap().is_ipv4() { 32 } else { 128 };
        assert!((1..=longest).contains(&bits.parse::<u32>().unwrap()), "{network}");
    }
    for original in ["10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"] {
        assert!(networks.iter().any(|ours| ours == original), "{original} is missing");
    }
    // nbd-server cuts lines at 255 characters.
    assert!(text("nbd-server.allow").lines().all(|line| line.len() < 255));

    let server = RealServer::start(|conf_d| {
        let path = conf_d.with_file_name("a.img");
        image(&path);
        let allow = self::path("nbd-server.allow");
        let export = format!("[a]\nexportname = {}\nauthfile = {}\n", path.display(), allow.display());
        fs::write(conf_d.join("a.conf"), export).unwrap();
    });
    assert_eq!(Client::connect(server.port, "a").read(512), vec![1; 512]);
}
