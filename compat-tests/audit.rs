//! The audit of real images: planted secrets of every kind are found, and in a clean Debian there are none.

// A test's figures go to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use ltsp_core::audit::{self, Finding, Kind};
use ltsp_core::cleanup::modern;
use ltsp_core::excludes::Excludes;
use ltsp_core::squashfs::{self, Compression, WriteOptions};
use ltsp_core::sys::confined::Root;
use rigs::chroot;

/// An image of a tree, by the built-in writer.
fn image(tree: &Path) -> File {
    let file = tempfile::tempfile().unwrap();
    let options = WriteOptions { compression: Compression::named("lz4").unwrap(), ..WriteOptions::default() };
    let name = Path::new("test.img");
    squashfs::write(tree, &file, name, &options, &Excludes::default(), &mut |_| Ok(())).unwrap();
    file
}

fn search(tree: &Path) -> Vec<Finding> {
    audit::search(&image(tree), Path::new("test.img"), &[]).unwrap()
}

fn plant(tree: &Path, path: &str, content: &[u8]) {
    let path = tree.join(path.strip_prefix('/').unwrap_or(path));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn pem(kind: &str) -> Vec<u8> {
    format!(
        "-----BEGIN {kind}-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END {kind}-----\n"
    )
    .into_bytes()
}

/// Secrets that are made by the programs that make them everywhere.
fn real_keys(tree: &Path) -> Vec<(&'static str, Kind)> {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(tree).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for folder in ["etc/ssh", "root/.ssh", "etc/ssl/private", "srv/keys"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "etc/ssh/ssh_host_ed25519_key"]);
    run("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", "root/.ssh/work"]);
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "phrase", "-f", "srv/keys/deploy"]);
    run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "etc/ssl/private/server.key"]);
    run("openssl", &["genrsa", "-traditional", "-out", "srv/keys/old", "1024"]);
    run("openssl", &["genrsa", "-out", "srv/keys/plain", "1024"]);
    run(
        "openssl",
        &[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            "srv/keys/plain",
            "-outform",
            "DER",
            "-out",
            "srv/keys/x.der",
        ],
    );
    let request =
        ["req", "-x509", "-new", "-batch", "-nodes", "-newkey", "rsa:1024", "-keyout", "srv/keys/both.txt"];
    run("openssl", &[&request[..], &["-out", "srv/keys/certificate.pem"]].concat());
    let store = ["pkcs12", "-export", "-in", "srv/keys/certificate.pem", "-inkey", "srv/keys/both.txt"];
    run("openssl", &[&store[..], &["-passout", "pass:x", "-out", "srv/keys/store.p12"]].concat());
    let hash = run("openssl", &["passwd", "-6", "secret"]);
    plant(tree, "/srv/keys/deployment.yaml", &[b"users:\n  - password_hash: ", &hash[..]].concat());
    vec![
        ("/etc/ssh/ssh_host_ed25519_key", Kind::SshHostKey),
        ("/root/.ssh/work", Kind::SshKey),
        ("/srv/keys/deploy", Kind::SshKey),
        ("/etc/ssl/private/server.key", Kind::TlsKey),
        ("/srv/keys/old", Kind::PrivateKey),
        ("/srv/keys/plain", Kind::PrivateKey),
        ("/srv/keys/x.der", Kind::TlsKey),
        ("/srv/keys/both.txt", Kind::PrivateKey),
        ("/srv/keys/store.p12", Kind::KeyStore),
        ("/srv/keys/deployment.yaml", Kind::PasswordHash),
    ]
}

/// What need not be real to be recognised.
#[rustfmt::skip]
const PLANTED: &[(&str, &str, Kind)] = &[
    ("/etc/shadow", "root:*:1::::::\nme:$y$j9T$salt$hash:19000:0:99999:7:::\n", Kind::PasswordHash),
    ("/etc/shadow-", "root:$6$salt$hash:1::::::\n", Kind::PasswordHash),
    ("/etc/gshadow", "adm:$6$salt$hash::\n", Kind::PasswordHash),
    ("/var/backups/shadow.bak", "me:$6$salt$hash:1::::::\n", Kind::PasswordHash),
    ("/srv/www/.htpasswd", "me:$apr1$salt$hash\n", Kind::PasswordHash),
    ("/boot/grub/grub.cfg", "password_pbkdf2 root grub.pbkdf2.sha512.10000.AB.CD\n", Kind::PasswordHash),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", Kind::MachineId),
    ("/home/me/key.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n", Kind::PuttyKey),
    ("/root/.gnupg/private-keys-v1.d/0123.key", "Created: 2020\nKey: (private-key\n", Kind::PgpKey),
    ("/root/backup.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOY\n", Kind::PgpKey),
    ("/root/.aws/credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = b\n", Kind::CloudCredentials),
    ("/root/.kube/config", "users:\n- user:\n    client-key-data: LS0t\n", Kind::KubernetesCredentials),
    ("/root/.docker/config.json", "{\"auths\":{\"registry\":{\"auth\":\"bWU6cHc=\"}}}", Kind::RegistryCredentials),
    ("/root/.netrc", "machine ftp.example.org login me password s3cret\n", Kind::NetrcPassword),
    ("/etc/apt/auth.conf.d/site.conf", "machine repo login me password s3cret\n", Kind::NetrcPassword),
    ("/root/.git-credentials", "https://me:s3cret@git.example.org\n", Kind::GitCredentials),
    ("/root/.pgpass", "*:*:*:me:s3cret\n", Kind::DatabasePassword),
    ("/root/.my.cnf", "[client]\npassword=s3cret\n", Kind::DatabasePassword),
    ("/etc/mysql/debian.cnf", "[client]\nuser = debian-sys-maint\npassword = s3cret\n", Kind::DatabasePassword),
    ("/etc/wpa_supplicant/wpa_supplicant.conf", "network={\n ssid=\"x\"\n psk=\"s3cret\"\n}\n", Kind::NetworkPassword),
    ("/etc/NetworkManager/system-connections/home.nmconnection", "[wifi-security]\npsk=s3cret\n", Kind::NetworkPassword),
    ("/etc/netplan/50-wifi.yaml", "network:\n  wifis:\n    w:\n      access-points:\n        x: {password: s3cret}\n", Kind::NetworkPassword),
    ("/etc/krb5.keytab", "\u{5}\u{2}\0\0\0J", Kind::KerberosKey),
    ("/var/lib/samba/private/secrets.tdb", "TDB file\n", Kind::SambaSecrets),
    ("/root/.smbcredentials", "username=me\npassword=s3cret\n", Kind::MountPassword),
    ("/etc/fstab", "//server/share /mnt cifs user=me,password=s3cret 0 0\n", Kind::MountPassword),
    ("/etc/wireguard/wg0.conf", "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n", Kind::WireGuardKey),
    ("/etc/wireguard/private.key", "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n", Kind::WireGuardKey),
    ("/etc/openvpn/static.key", "#\n-----BEGIN OpenVPN Static key V1-----\n6acef03f\n", Kind::VpnSecret),
    ("/etc/ppp/chap-secrets", "me\t*\ts3cret\t*\n", Kind::VpnSecret),
    ("/etc/ipsec.secrets", "%any %any : PSK \"s3cret\"\n", Kind::VpnSecret),
    ("/root/.bash_history", "mysql -ps3cret\n", Kind::ShellHistory),
    ("/home/me/.local/share/fish/fish_history", "- cmd: x\n", Kind::ShellHistory),
    ("/etc/cryptsetup-keys.d/data.key", "\u{1}\u{2}\u{3}", Kind::DiskKey),
    ("/etc/postfix/sasl_passwd", "[smtp.example.org]:587 me:s3cret\n", Kind::MailPassword),
    ("/etc/exim4/passwd.client", "# comment\n*:me:s3cret\n", Kind::MailPassword),
    ("/etc/nslcd.conf", "bindpw s3cret\n", Kind::DirectoryPassword),
    ("/etc/sssd/sssd.conf", "ldap_default_authtok = s3cret\n", Kind::DirectoryPassword),
    ("/etc/ltsp/ltsp.conf", "[clients]\nPASSWORDS_LAB=\"pupil/cHVwaWwK\"\n", Kind::LtspPassword),
    ("/root/.npmrc", "//registry.npmjs.org/:_authToken=x1\n", Kind::ApiToken),
    ("/usr/local/bin/deploy", "curl -H 'Authorization: token ghp_0123456789abcdefghijklmnopqrstuvwxyz'\n", Kind::ApiToken),
    ("/home/me/.mozilla/firefox/x.default/logins.json", "{}", Kind::StoredPasswords),
    ("/home/me/.local/share/keyrings/login.keyring", "GnomeKeyring", Kind::StoredPasswords),
    ("/home/me/.vnc/passwd", "x", Kind::DesktopPassword),
    ("/etc/bind/rndc.key", "key \"rndc-key\" {\n\tsecret \"c2VjcmV0\";\n};\n", Kind::DnsKey),
    ("/var/cache/debconf/passwords.dat", "Name: a/password\nValue: s3cret\n", Kind::InstallerPassword),
    ("/var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\npassword: s3cret\n", Kind::InstallerPassword),
    ("/etc/munge/munge.key", "x", Kind::ClusterKey),
    ("/var/lib/systemd/credential.secret", "x", Kind::SystemdCredential),
    ("/srv/app/.env", "DB_PASSWORD=s3cret\n", Kind::ProgramPassword),
    ("/etc/apt/sources.list", "deb https://me:s3cret@repo.example.org/debian stable main\n", Kind::UrlPassword),
];

/// What looks like a secret and is none.
#[rustfmt::skip]
const HARMLESS: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
    ("/etc/group", "root:x:0:\n"),
    ("/etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA root@x\n"),
    ("/etc/ssl/certs/ca.pem", "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n"),
    ("/etc/wgetrc", "#https_proxy = http://me:s3cret@proxy.example.org:18023/\n"),
    ("/etc/exim4/passwd.client.example", "# password file used when the local exim is authenticating\n"),
    ("/etc/ppp/pap-secrets", "*\thostname\t\"\"\t*\n"),
    ("/root/.ssh/known_hosts", "host ssh-ed25519 AAAA\n"),
    ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n"),
    ("/root/.bash_profile", "PS1='$1$2$3 '\n"),
    ("/usr/share/doc/x/example.key", "a text\n"),
    ("/usr/share/x/shadow.css", "a:b\n"),
    ("/var/lib/dbus/machine-id", "uninitialized\n"),
];

#[test]
fn planted_secrets_of_every_kind_are_found_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected: BTreeSet<(PathBuf, Kind)> =
        real_keys(dir.path()).into_iter().map(|(path, kind)| (path.into(), kind)).collect();
    for (path, content, kind) in PLANTED {
        plant(dir.path(), path, content.as_bytes());
        expected.insert((path.into(), *kind));
    }
    for (path, content) in HARMLESS {
        plant(dir.path(), path, content.as_bytes());
    }
    let kinds: BTreeSet<Kind> = expected.iter().map(|(_, kind)| *kind).collect();
    assert!(kinds.len() >= 30, "{kinds:?}");
    let found: BTreeSet<(PathBuf, Kind)> =
        search(dir.path()).into_iter().map(|finding| (finding.path, finding.kind)).collect();
    let missed: Vec<_> = expected.difference(&found).collect();
    let invented: Vec<_> = found.difference(&expected).collect();
    assert!(missed.is_empty() && invented.is_empty(), "missed {missed:#?}, invented {invented:#?}");
}

#[test]
fn keys_in_packages_are_no_secrets_but_others_beside_them_are() {
    let dir = tempfile::tempdir().unwrap();
    for path in
        ["usr/lib/python3/test/cert.pem", "usr/share/own/server.pem", "lib/x/test.key", "opt/app/test.key"]
    {
        plant(dir.path(), path, &pem("RSA PRIVATE KEY"));
    }
    plant(dir.path(), "etc/app/key.pem", &pem("EC PRIVATE KEY"));
    plant(
        dir.path(),
        "var/lib/dpkg/info/app.list",
        b"/.\n/usr/lib/python3/test/cert.pem\n/opt/app/test.key\n/lib/x/test.key\n/etc/app/key.pem\n",
    );
    let found: Vec<_> = search(dir.path()).into_iter().map(|finding| finding.to_string()).collect();
    assert_eq!(
        found,
        [
            "/etc/app/key.pem: the private key of a certificate",
            "/usr/share/own/server.pem: the private key of a certificate",
        ]
    );
}

#[test]
fn keys_made_for_the_image_are_not_reported() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), "etc/ssl/private/ssl-cert-snakeoil.key", &pem("PRIVATE KEY"));
    plant(dir.path(), "etc/ssl/private/other.key", &pem("PRIVATE KEY"));
    let renewed = [PathBuf::from("etc/ssl/private/ssl-cert-snakeoil.key")];
    let found = audit::search(&image(dir.path()), Path::new("test.img"), &renewed).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path, Path::new("/etc/ssl/private/other.key"));
}

#[test]
fn a_secret_is_found_once_wherever_it_lies_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let long = [&b"a line of no meaning\n".repeat(4000)[..], &pem("PRIVATE KEY")].concat();
    plant(dir.path(), "srv/long", &long);
    plant(dir.path(), "srv/too-long", &[&long[..], &long].concat());
    fs::hard_link(dir.path().join("srv/long"), dir.path().join("srv/second name")).unwrap();
    std::os::unix::fs::symlink("long", dir.path().join("srv/link")).unwrap();
    let found = search(dir.path());
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_damaged_image_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    plant(dir.path(), "etc/shadow", b"me:$6$salt$hash:1::::::\n");
    let file = image(dir.path());
    file.set_len(200).unwrap();
    let error = audit::search(&file, Path::new("broken.img"), &[]).unwrap_err().to_string();
    assert!(error.contains("broken.img"), "{error}");
}

// Must show 4 of the third capability.
#[test]
fn there_is_nothing_to_find_in_a_clean_debian() {
    for source in [chroot::demo(), chroot::netboot()] {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("root");
        let status = Command::new("cp").arg("-a").arg(&source).arg(&copy).status().unwrap();
        assert!(status.success());
        modern::clean(&Root::open(&copy).unwrap(), &BTreeSet::new()).unwrap();
        let image = image(&copy);
        let start = Instant::now();
        let found = audit::search(&image, Path::new("clean.img"), &[]).unwrap();
        println!("{}: searched in {:?}", source.display(), start.elapsed());
        assert_eq!(found, [], "{}", source.display());
    }
}
