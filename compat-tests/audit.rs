//! The audit of real images: planted secrets of every kind are found, and in a clean Debian there are none.

// A test's figures go to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
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
    let curve = ["genpkey", "-algorithm", "ed25519", "-outform", "DER", "-out", "srv/keys/curve"];
    run("openssl", &curve);
    let encrypted =
        ["pkcs8", "-topk8", "-in", "srv/keys/plain", "-outform", "DER", "-passout", "pass:x", "-out"];
    run("openssl", &[&encrypted[..], &["srv/keys/encrypted"]].concat());
    let request =
        ["req", "-x509", "-new", "-batch", "-nodes", "-newkey", "rsa:1024", "-keyout", "srv/keys/both.txt"];
    run("openssl", &[&request[..], &["-out", "srv/keys/certificate.pem"]].concat());
    let store = ["pkcs12", "-export", "-in", "srv/keys/certificate.pem", "-inkey", "srv/keys/both.txt"];
    run("openssl", &[&store[..], &["-passout", "pass:x", "-out", "srv/keys/store.p12"]].concat());
    fs::copy(tree.join("srv/keys/store.p12"), tree.join("srv/keys/store")).unwrap();
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
        ("/srv/keys/curve", Kind::PrivateKey),
        ("/srv/keys/encrypted", Kind::PrivateKey),
        ("/srv/keys/store", Kind::KeyStore),
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
    ("/home/me/.mozilla/firefox/x.default/logins.json", "{\"logins\":[{\"encryptedPassword\":\"MDIE\"}]}", Kind::StoredPasswords),
    ("/etc/skel/.config/chromium/Default/Cookies", "SQLite format 3\0", Kind::StoredPasswords),
    ("/home/me/.config/filezilla/sitemanager.xml", "<Pass encoding=\"base64\">czNjcmV0</Pass>\n", Kind::StoredPasswords),
    ("/home/me/.local/share/remmina/office.remmina", "[remmina]\npassword=s3cret\n", Kind::StoredPasswords),
    ("/home/me/.local/share/keyrings/login.keyring", "GnomeKeyring", Kind::StoredPasswords),
    ("/home/me/.vnc/passwd", "x", Kind::DesktopPassword),
    ("/etc/bind/rndc.key", "key \"rndc-key\" {\n\tsecret \"c2VjcmV0\";\n};\n", Kind::DnsKey),
    ("/var/cache/debconf/passwords.dat", "Name: a/password\nValue: s3cret\n", Kind::InstallerPassword),
    ("/var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\npassword: s3cret\n", Kind::InstallerPassword),
    ("/etc/munge/munge.key", "x", Kind::ClusterKey),
    ("/var/lib/systemd/credential.secret", "x", Kind::SystemdCredential),
    ("/srv/app/.env", "DB_PASSWORD=s3cret\n", Kind::ProgramPassword),
    ("/var/lib/systemd/random-seed", "\u{1}\u{2}", Kind::MachineSecret),
    ("/var/lib/NetworkManager/secret_key", "nm-v2:\u{1}", Kind::MachineSecret),
    ("/etc/userdb/me.user-privileged", "{\"hashedPassword\":[\"$6$saltsalt$0123456789012345678901234567890123456789\"]}", Kind::PasswordHash),
    ("/var/lib/postgresql/15/main/global/1260", "\u{1}\0postgres\0SCRAM-SHA-256$4096:c2FsdA==$a:b", Kind::PasswordHash),
    ("/var/lib/ldap/data.mdb", "\0\0", Kind::PasswordHash),
    ("/srv/deploy/id.conf", "# age\nAGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX\n", Kind::ApiToken),
    ("/root/.bashrc", "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n", Kind::CloudCredentials),
    ("/root/.config/gcloud/application_default_credentials.json", "{\"refresh_token\": \"1//0x\"}", Kind::CloudCredentials),
    ("/root/.azure/msal_token_cache.json", "{}", Kind::CloudCredentials),
    ("/etc/backup/azure.ini", "connection = DefaultEndpointsProtocol=https;AccountKey=0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN==\n", Kind::CloudCredentials),
    ("/etc/network/interfaces", "iface wlan0 inet dhcp\n    wpa-ssid home\n    wpa-psk s3cret\n", Kind::NetworkPassword),
    ("/var/lib/bluetooth/00:11:22:33:44:55/66:77:88:99:AA:BB/info", "[LinkKey]\nKey=0123456789ABCDEF\n", Kind::NetworkPassword),
    ("/etc/cups/printers.conf.O", "DeviceURI smb://me:s3c%40ret@server/laser\n", Kind::UrlPassword),
    ("/etc/samba/office", "username=me\npassword=s3cret\ndomain=OFFICE\n", Kind::ProgramPassword),
    ("/etc/local/any-name", "\u{1}\u{2}", Kind::DiskKey),
    ("/etc/local/share", "me\ns3cret\n", Kind::MountPassword),
    ("/etc/openvpn/client/login.txt", "me\ns3cret\n", Kind::VpnSecret),
    ("/etc/openvpn/client/office.conf", "remote vpn.example.org\nauth-user-pass login.txt\n<key>\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n</key>\n", Kind::VpnSecret),
    ("/etc/openvpn/crypt.key", "-----BEGIN OpenVPN tls-crypt-v2 client key-----\nAAAA\n", Kind::VpnSecret),
    ("/etc/rsyncd.secrets", "me:s3cret\n", Kind::MountPassword),
    ("/etc/ansible/group_vars/all", "ansible_become_password: s3cret\n", Kind::ProgramPassword),
    ("/etc/systemd/system/app.service", "[Service]\nEnvironment=DB_PASSWORD=s3cret\n", Kind::ProgramPassword),
    ("/etc/cron.d/backup", "0 3 * * * root mysqldump --password=s3cret db\n", Kind::ProgramPassword),
    ("/srv/app/docker-compose.yml", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: s3cret\n", Kind::ProgramPassword),
    ("/srv/app/secret-tls.yaml", "kind: Secret\ndata:\n  tls.key: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUU=\n", Kind::PrivateKey),
    ("/etc/roundcube/config.inc.php", "<?php\n// the password (if any)\n$config['des_key'] = 's3cret';\n", Kind::ProgramPassword),
    ("/etc/phpmyadmin/config-db.php", "<?php\n$dbuser='pma';\n$dbpass='s3cret';\n", Kind::DatabasePassword),
    ("/root/.vault_pass.txt", "s3cret\n", Kind::ProgramPassword),
    ("/srv/app/.env.production", "API_TOKEN='s3cret'\n", Kind::ProgramPassword),
    ("/etc/xrdp/rsakeys.ini", "[keys]\npub_exp=0x01\npri_exp=0x02,0x03\n", Kind::TlsKey),
    ("/root/.lesshst", ".less-history-file:\n", Kind::ShellHistory),
    ("/etc/apt/sources.list", "deb https://me:s3cret@repo.example.org/debian stable main\n", Kind::UrlPassword),
];

/// What looks like a secret and is none.
#[rustfmt::skip]
const HARMLESS: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
    // These name files with secrets.
    ("/etc/crypttab", "data UUID=1 /etc/local/any-name luks\n# x UUID=2 /etc/hostname luks\nswap /dev/sda2 /dev/urandom swap\n"),
    ("/etc/auto.share", "public -fstype=cifs,credentials=/etc/local/share ://server/public\n"),
    ("/etc/hostname", "server\n"),
    ("/srv/app/.env.example", "API_TOKEN=your-token\n"),
    ("/srv/app/config.sh", "user=$1\npassword=$PASSWORD\n"),
    ("/home/me/.mozilla/firefox/y.default/logins.json", "{\"logins\":[]}"),
    ("/etc/hosts.conf", "hf_a_long_name_in_a_program_that_is_no_token = 1\n"),
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
fn what_packages_bring_is_no_secret_unless_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let key = pem("RSA PRIVATE KEY");
    for path in [
        "usr/lib/python3/test/cert.pem",
        "usr/share/app/changed.pem",
        "usr/share/app/as-it-came.pem",
        "usr/share/own/server.pem",
        "lib/x/test.key",
        "opt/app/test.key",
        "etc/app/as-it-came.conf",
        "etc/app/changed.conf",
    ] {
        plant(dir.path(), path, &key);
    }
    let digest = md5sum(&dir.path().join("opt/app/test.key"));
    plant(
        dir.path(),
        "var/lib/dpkg/info/app.list",
        b"/.\n/usr/lib/python3/test/cert.pem\n/opt/app/test.key\n/lib/x/test.key\n/etc/app/changed.conf\n\
          /usr/share/app/changed.pem\n/usr/share/app/as-it-came.pem\n",
    );
    let digests = format!(
        "{digest}  usr/share/app/as-it-came.pem\n0123456789abcdef0123456789abcdef  usr/share/app/changed.pem\n"
    );
    plant(dir.path(), "var/lib/dpkg/info/app.md5sums", digests.as_bytes());
    let status = format!(
        "Package: app\nConffiles:\n /etc/app/as-it-came.conf {digest}\n /etc/app/changed.conf \
         0123456789abcdef0123456789abcdef\nDescription: x\n /etc/app/changed.conf\n"
    );
    plant(dir.path(), "var/lib/dpkg/status", status.as_bytes());
    let found: Vec<_> = search(dir.path()).into_iter().map(|finding| finding.to_string()).collect();
    assert_eq!(
        found,
        [
            "/etc/app/changed.conf: a private key",
            "/usr/share/app/changed.pem: the private key of a certificate",
            "/usr/share/own/server.pem: the private key of a certificate",
        ]
    );
}

fn md5sum(path: &Path) -> String {
    let output = Command::new("md5sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
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
    for source in [chroot::demo(), chroot::netboot(), chroot::services()] {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("root");
        let status = Command::new("cp").arg("-a").arg(&source).arg(&copy).status().unwrap();
        assert!(status.success());
        let cleaned = modern::clean(&Root::open(&copy).unwrap(), &BTreeSet::new()).unwrap();
        let image = image(&copy);
        let start = Instant::now();
        let mut found = audit::search(&image, Path::new("clean.img"), &cleaned.renewed).unwrap();
        println!("{}: searched in {:?}", source.display(), start.elapsed());
        // The default list keeps them out of images, even when they are new.
        let host_keys = |finding: &Finding| finding.kind == Kind::SshHostKey;
        found.retain(|finding| !host_keys(finding));
        assert_eq!(found, [], "{}", source.display());
    }
}

/// Private keys, by their first lines, in the files of packages.
fn sample_keys(tree: &Path) -> Vec<PathBuf> {
    let output = Command::new("grep")
        .args(["-rlE", "^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----"])
        .arg(tree.join("usr"))
        .output()
        .unwrap();
    text(&output.stdout).lines().map(PathBuf::from).collect()
}

// Else the test above shows nothing.
#[test]
fn packages_of_a_clean_debian_do_bring_keys() {
    let source = chroot::services();
    assert!(sample_keys(&source).len() >= 3, "{:?}", sample_keys(&source));
    for key in ["etc/ssh/ssh_host_ed25519_key", "etc/ssl/private/ssl-cert-snakeoil.key"] {
        assert!(source.join(key).is_file(), "{key}");
    }
}

/// `ltsp image` for the chroot `foo` in `base`, with nothing of this machine's configuration.
fn ltsp_image(base: &Path, options: &[&str]) -> Output {
    let private =
        "mount -t tmpfs none /run; [ ! -d /etc/ltsp ] || mount -t tmpfs none /etc/ltsp; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-euc", private, "sh", env!("CARGO_BIN_EXE_ltsp"), "-b"]).arg(base);
    command.arg("-t").arg(base.join("tftp")).arg("image").args(options).arg("foo");
    for variable in ["AUDIT", "CLEANUP", "ADD_IMAGE_EXCLUDES", "OMIT_IMAGE_EXCLUDES"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

// Must show 4 of the third capability.
#[test]
fn findings_are_listed_and_strictly_keep_an_image_from_being_published() {
    let dir = tempfile::tempdir().unwrap();
    let (base, chroot) = (dir.path(), dir.path().join("foo"));
    for (path, content) in [
        ("etc/passwd", &b"root:x:0:0:root:/root:/bin/sh\n"[..]),
        ("etc/group", b"root:x:0:\n"),
        ("proc/x", b""),
        ("boot/vmlinuz-6.1.0-1-amd64", b"kernel"),
        ("boot/initrd.img-6.1.0-1-amd64", b"ramdisk"),
        ("opt/app/id", &pem("OPENSSH PRIVATE KEY")),
        (
            "etc/wireguard/wg0.conf",
            b"[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n",
        ),
        // What excludes and cleanup keep out is no finding.
        ("root/.netrc", b"machine m login l password s3cret\n"),
        ("etc/shadow", b"root:$6$saltsalt$0123456789012345678901234567890123456789:1::::::\n"),
    ] {
        plant(&chroot, path, content);
    }
    let findings = |output: &Output| -> serde_json::Value {
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        result["findings"].clone()
    };
    let listed = "ltsp image: warning: secret in the image: /etc/wireguard/wg0.conf: a key of WireGuard\n\
                  ltsp image: warning: secret in the image: /opt/app/id: a private ssh key\n";

    let warned = ltsp_image(base, &["--json"]);
    assert!(warned.status.success() && text(&warned.stderr).contains(listed), "{warned:?}");
    let expected = serde_json::json!([
        {"path": "/etc/wireguard/wg0.conf", "kind": "wireguard-key"},
        {"path": "/opt/app/id", "kind": "ssh-key"},
    ]);
    assert_eq!(findings(&warned), expected);

    let state = || -> BTreeSet<(PathBuf, u64, Vec<u8>)> {
        let entries = fs::read_dir(base.join("images")).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| (entry.path(), entry.ino(), fs::read(entry.path()).unwrap())).collect()
    };
    let before = state();
    let refused = ltsp_image(base, &["--audit=strict", "--json"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(listed) && said.contains("secrets in it: 2"), "{said}");
    assert!(said.contains("ADD_IMAGE_EXCLUDES"), "{said}");
    assert_eq!(text(&refused.stdout), "");
    assert_eq!(state(), before);

    let unsearched = ltsp_image(base, &["--audit=off", "--json"]);
    assert!(unsearched.status.success() && !text(&unsearched.stderr).contains("secret"), "{unsearched:?}");
    assert!(findings(&unsearched).is_null());

    fs::remove_file(chroot.join("opt/app/id")).unwrap();
    fs::remove_dir_all(chroot.join("etc/wireguard")).unwrap();
    let clean = ltsp_image(base, &["--audit=strict", "--json"]);
    assert!(clean.status.success() && !text(&clean.stderr).contains("secret"), "{clean:?}");
    assert_eq!(findings(&clean), serde_json::json!([]));

    // Without cleanup there is a hash.
    let uncleaned = ltsp_image(base, &["--audit=strict", "--cleanup=0"]);
    assert_eq!(uncleaned.status.code(), Some(1));
    assert!(text(&uncleaned.stderr).contains("/etc/shadow: the hash of a password"), "{uncleaned:?}");
}
