//! The rules: where secrets of each kind lie, and what they look like.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::evidence::Evidence::{self, *};
use super::kind::Kind::{self, *};
use super::pattern::Pattern;

/// A rule. `paths` are as in [`Pattern`].
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    paths: &'static [&'static str],
    evidence: Evidence,
}

const fn rule(kind: Kind, paths: &'static [&'static str], evidence: Evidence) -> Rule {
    Rule { kind, paths, evidence }
}

/// Armours of private keys: PEM (RFC 7468), the two of ssh, and OpenVPN.
const PEM_KEY: Evidence = Armour(&[
    "PRIVATE KEY-----",
    "SSH2 ENCRYPTED PRIVATE KEY ----",
    "OpenVPN Static key V1-----",
    "OpenVPN tls-crypt-v2 client key-----",
    "OpenVPN tls-crypt-v2 server key-----",
]);
/// That of OpenPGP (RFC 4880, 6.2).
const PGP_KEY: Evidence = Armour(&["PGP PRIVATE KEY BLOCK-----"]);
const PASSWORD: Evidence = Setting(&["password", "passwd", "pass", "pwd"]);
/// Settings that are secret in NetworkManager, wpa_supplicant, netplan, ifupdown, iwd, connman, hostapd.
const NETWORK: Evidence = Setting(&[
    "psk",
    "password",
    "password-raw",
    "wep-key*",
    "wep_key*",
    "leap-password",
    "private-key",
    "preshared-key",
    "private-key-password",
    "private_key_passwd",
    "sae_password",
    "wpa-psk",
    "wpa-password",
    "wireless-key",
    "passphrase",
    "presharedkey",
    "eap-password",
    "wpa_passphrase",
    "wpa_psk",
]);

/// For files of these names; the first rule whose evidence is there tells the kind.
const BY_NAME: &[Rule] = &[
    rule(SshHostKey, &["ssh_host_*_key", "ssh_host_key", "dropbear_*_host_key"], Anything),
    rule(SshKey, &[".ssh/*", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"], PEM_KEY),
    rule(SshKey, &[".ssh/identity", ".ssh/id_*"], Begins(&[b"SSH PRIVATE KEY FILE FORMAT 1.1\n"])),
    rule(VpnSecret, &["/etc/openvpn/*", "/etc/openvpn/*/*", "*.ovpn", "/etc/ipsec.d/private/*"], PEM_KEY),
    rule(
        DiskKey,
        &[
            "/crypto_keyfile.bin",
            "/boot/crypto_keyfile.bin",
            "/etc/cryptsetup-keys.d/*",
            "/etc/keys/*",
            "/etc/luks/*",
        ],
        Anything,
    ),
    rule(
        TlsKey,
        &[
            "/etc/ssl/*",
            "/etc/ssl/*/*",
            "/etc/pki/*/*/*",
            "/etc/letsencrypt/*/*",
            "/etc/letsencrypt/*/*/*",
            "*.key",
            "*.pem",
            "*.crt",
            "*.cert",
            "*.cer",
        ],
        PEM_KEY,
    ),
    rule(TlsKey, &["*.key", "*.der", "*.pk8", "*.p8", "*.pem"], DerKey),
    rule(TlsKey, &["/etc/xrdp/rsakeys.ini"], Setting(&["pri_exp"])),
    rule(TlsKey, &["private_key.json"], Contains(&["\"d\""])),
    rule(PuttyKey, &["*.ppk"], Begins(&[b"PuTTY-User-Key-File-"])),
    rule(PgpKey, &[".gnupg/private-keys-v1.d/*", "private-keys-v1.d/*.key", "secring.gpg"], Anything),
    rule(PgpKey, &["*.asc", "*.gpg", "*.pgp", "*.key"], PGP_KEY),
    // A packet of type 5 comes first (RFC 4880, 4.2 and 4.3).
    rule(PgpKey, &["*.gpg", "*.pgp"], Begins(&[&[0x94], &[0x95], &[0x96], &[0x97], &[0xc5]])),
    rule(
        PrivateKey,
        &["hs_ed25519_secret_key", "ed25519_master_id_secret_key", "/var/lib/tor/keys/secret_*"],
        Anything,
    ),
    rule(PrivateKey, &["*minisign.key", "*.minisign"], Contains(&["minisign encrypted secret key"])),
    rule(
        KeyStore,
        &["*.p12", "*.pfx", "*.jks", "*.keystore", "*.jceks"],
        Begins(&[&[0x30, 0x82], &[0x30, 0x80], &[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]]),
    ),
    rule(KeyStore, &["cwallet.sso", "ewallet.p12"], Anything),
    rule(
        PasswordHash,
        &[
            "shadow*",
            "gshadow*",
            "/etc/passwd*",
            "/etc/group*",
            "/var/backups/passwd*",
            "/var/backups/group*",
            "opasswd",
            "master.passwd*",
            ".htpasswd*",
            "htpasswd*",
            "*.htpasswd",
            "/etc/apache2/*passwd*",
            "/etc/nginx/*passwd*",
            "/etc/lighttpd/*passwd*",
            "/etc/mosquitto/*passwd*",
            "/etc/dovecot/users",
            "/etc/dovecot/passwd*",
            "/etc/squid/*passw*",
            "/etc/proftpd/*passwd*",
            "/etc/vsftpd*passwd*",
        ],
        HashField,
    ),
    rule(PasswordHash, &[".htdigest*", "*htdigest*", "/etc/cups/passwd.md5"], Line),
    rule(
        PasswordHash,
        &["/etc/grub.d/*", "/boot/grub/*.cfg", "/etc/default/grub"],
        Contains(&["grub.pbkdf2.sha"]),
    ),
    // The databases of OpenLDAP; that of PostgreSQL for its users is small, and looked into like any file.
    rule(PasswordHash, &["/var/lib/ldap/*.mdb", "/var/lib/ldap/*/*.mdb"], Anything),
    rule(MachineId, &["/etc/machine-id", "/var/lib/dbus/machine-id"], HexId),
    rule(
        MachineSecret,
        &[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "loader/random-seed",
            "/var/lib/NetworkManager/secret_key",
        ],
        Anything,
    ),
    rule(
        CloudCredentials,
        &[".aws/credentials", ".aws/config", ".boto", "boto.cfg"],
        Setting(&["aws_secret_access_key", "aws_session_token", "gs_secret_access_key"]),
    ),
    rule(
        CloudCredentials,
        &[
            ".aws/sso/cache/*.json",
            ".aws/cli/cache/*.json",
            ".config/gcloud/credentials.db",
            ".config/gcloud/access_tokens.db",
            ".config/gcloud/application_default_credentials.json",
            ".config/gcloud/legacy_credentials/*/*",
            ".azure/accessTokens.json",
            ".azure/msal_token_cache.*",
            ".azure/service_principal_entries.*",
            "/var/lib/waagent/*.prv",
            ".oci/*.pem",
        ],
        Anything,
    ),
    rule(
        CloudCredentials,
        &[
            ".config/doctl/config.yaml",
            ".config/hcloud/cli.toml",
            ".s3cfg",
            "rclone.conf",
            "clouds.yaml",
            "secure.yaml",
            ".terraformrc",
            ".terraform.d/credentials.tfrc.json",
            ".config/linode-cli",
            "*.tfvars",
            "*.tfstate",
        ],
        Setting(&[
            "access-token",
            "token",
            "secret_key",
            "secret_access_key",
            "password",
            "pass",
            "client_secret",
        ]),
    ),
    rule(CloudCredentials, &[".passwd-s3fs", "/etc/passwd-s3fs"], Line),
    rule(
        KubernetesCredentials,
        &[".kube/config", "/etc/kubernetes/*.conf", "/etc/rancher/*/*.yaml", "kubeconfig", "*.kubeconfig"],
        Setting(&["client-key-data", "token", "password", "id-token", "refresh-token"]),
    ),
    rule(
        KubernetesCredentials,
        &["rancher/*/server/token", "rancher/*/server/node-token", "rancher/node/password"],
        Anything,
    ),
    rule(
        RegistryCredentials,
        &[".docker/config.json", ".dockercfg", "containers/auth.json", "/var/lib/kubelet/config.json"],
        Setting(&["auth", "identitytoken", "registrytoken", "password"]),
    ),
    rule(
        NetrcPassword,
        &[".netrc", "_netrc", "netrc", ".authinfo", "/etc/apt/auth.conf", "/etc/apt/auth.conf.d/*"],
        PASSWORD,
    ),
    rule(
        GitCredentials,
        &[".git-credentials", "git/credentials", ".gitconfig", ".git/config", "git/config"],
        Url,
    ),
    rule(
        GitCredentials,
        &["gh/hosts.yml", ".config/hub", "glab-cli/config.yml"],
        Setting(&["oauth_token", "token"]),
    ),
    rule(DatabasePassword, &[".pgpass", "pgpass", "pgpass.conf"], Line),
    rule(DatabasePassword, &[".pg_service.conf", "pg_service.conf", ".odbc.ini", "odbc.ini"], PASSWORD),
    rule(DatabasePassword, &[".mylogin.cnf"], Anything),
    rule(
        DatabasePassword,
        &[
            ".my.cnf",
            "my.cnf",
            "/etc/mysql/*.cnf",
            "/etc/mysql/*/*.cnf",
            "/etc/dbconfig-common/*",
            "/etc/phpmyadmin/*.php",
            "/etc/redis/*.conf",
            "/etc/zabbix/*.conf",
            "/etc/*/debian-db*.php",
            "config/config.php",
            "config.inc.php",
            "LocalSettings.php",
            "sites/*/settings.php",
        ],
        Setting(&[
            "password",
            "dbpass",
            "dbpassword",
            "wgdbpassword",
            "dbc_dbpass",
            "requirepass",
            "masterauth",
        ]),
    ),
    rule(DatabasePassword, &["wp-config.php"], Contains(&["DB_PASSWORD"])),
    rule(
        NetworkPassword,
        &[
            "wpa_supplicant*.conf",
            "/etc/wpa_supplicant/*.conf",
            "*.nmconnection",
            "/etc/NetworkManager/system-connections/*",
            "/etc/netplan/*",
            "/etc/network/interfaces",
            "/etc/network/interfaces.d/*",
            "/var/lib/iwd/*",
            "/var/lib/connman/*/settings",
            "/var/lib/connman/*.config",
            "/etc/hostapd/*.conf",
        ],
        NETWORK,
    ),
    // Keys of paired devices.
    rule(NetworkPassword, &["/var/lib/bluetooth/*/*/info"], Setting(&["key"])),
    rule(NetworkPassword, &["/etc/hostapd/*psk*", "/etc/zabbix/*.psk"], Line),
    rule(KerberosKey, &["*.keytab", "*keytab*"], Begins(&[&[5, 1], &[5, 2]])),
    rule(KerberosKey, &["krb5cc_*", "*.ccache"], Begins(&[&[5, 1], &[5, 2], &[5, 3], &[5, 4]])),
    rule(KerberosKey, &["/var/lib/krb5kdc/*", "/etc/krb5kdc/stash", "/etc/krb5kdc/.k5*"], Anything),
    rule(
        SambaSecrets,
        &[
            "secrets.tdb",
            "passdb.tdb",
            "secrets.ldb",
            "secrets.keytab",
            "smbpasswd",
            "/var/lib/samba/private/*.tdb",
            "/var/lib/samba/private/*.ldb",
            "/var/lib/samba/private/*.key",
        ],
        Anything,
    ),
    rule(
        MountPassword,
        &[
            ".smbcredentials*",
            "*smbcredentials*",
            "/etc/samba/*cred*",
            "/etc/*cred*",
            "/root/*cred*",
            "*.cifs",
            "/etc/fstab",
            "/etc/auto.*",
            "/etc/autofs/*",
            "/etc/iscsi/iscsid.conf",
            "/etc/iscsi/nodes/*/*",
            "/etc/iscsi/nodes/*/*/*",
        ],
        PASSWORD,
    ),
    rule(MountPassword, &["/etc/rsync*secret*", "/etc/rsync*pass*", ".rsync_pass*", ".rsync-pass*"], Line),
    rule(MountPassword, &["davfs2/secrets"], Line),
    rule(
        WireGuardKey,
        &["/etc/wireguard/*", "/etc/wireguard/*/*", "wg*.conf", "*.netdev"],
        Setting(&["privatekey", "presharedkey"]),
    ),
    rule(WireGuardKey, &["/etc/wireguard/*key*", "/etc/wireguard/*/*key*"], Anything),
    rule(VpnSecret, &["/etc/openvpn/*", "/etc/openvpn/*/*", "*.ovpn"], Contains(&["<auth-user-pass>"])),
    rule(
        VpnSecret,
        &["/var/lib/tailscale/tailscaled.state", "/var/lib/zerotier-one/identity.secret"],
        Anything,
    ),
    rule(VpnSecret, &["chap-secrets", "pap-secrets", "srp-secrets", "l2tp-secrets"], PppSecret),
    rule(
        VpnSecret,
        &["ipsec.secrets", "*.secrets", "/etc/swanctl/*.conf", "/etc/swanctl/conf.d/*"],
        Setting(&["psk", "xauth", "eap", "ntlm", "secret"]),
    ),
    rule(
        VpnSecret,
        &["/etc/vpnc/*", "/etc/openfortivpn/*", "/etc/openconnect/*"],
        Setting(&["ipsec secret", "xauth password", "password"]),
    ),
    rule(
        ShellHistory,
        &[
            ".*_history",
            ".*_history-*",
            ".*-history",
            "fish_history",
            ".histfile",
            ".history",
            ".zhistory",
            ".viminfo",
            ".lesshst",
            "nushell/history.*",
        ],
        Anything,
    ),
    rule(MailPassword, &["sasl_passwd*", "/etc/exim4/passwd.client", "/etc/dma/auth.conf"], Line),
    rule(
        MailPassword,
        &[
            "msmtprc",
            ".msmtprc",
            ".fetchmailrc",
            "fetchmailrc",
            ".mbsyncrc",
            ".offlineimaprc",
            "ssmtp.conf",
            ".getmail/*",
            "/etc/nullmailer/remotes",
        ],
        Setting(&["password", "pass", "authpass", "remotepass", "--pass"]),
    ),
    rule(
        MailPassword,
        &[".muttrc", "muttrc", ".mutt/*", ".config/mutt/*", ".neomuttrc", ".config/neomutt/*"],
        Setting(&["imap_pass", "smtp_pass", "pop_pass"]),
    ),
    rule(DirectoryPassword, &["/etc/*ldap*.secret", "/etc/ldap.secret"], Anything),
    rule(DirectoryPassword, &["/etc/ldap/slapd.d/*/*", "slapd.conf"], Setting(&["olcrootpw", "rootpw"])),
    // Hashes of those who have logged in.
    rule(DirectoryPassword, &["/var/lib/sss/db/cache_*.ldb", "/var/lib/sss/secrets/*"], Anything),
    rule(
        DirectoryPassword,
        &["nslcd.conf", "sssd.conf", "/etc/sssd/conf.d/*", "/etc/*ldap*.conf", "/etc/ldap/ldap.conf"],
        Setting(&["bindpw", "rootbindpw", "rootpw", "ldap_default_authtok"]),
    ),
    rule(LtspPassword, &["/etc/ltsp/*.conf", "lts.conf"], Setting(&["passwords*", "ldm_password*"])),
    rule(
        ApiToken,
        &[
            ".npmrc",
            "npmrc",
            ".pypirc",
            ".cargo/credentials*",
            ".gem/credentials",
            "gitlab-runner/config.toml",
            ".composer/auth.json",
            "composer/auth.json",
        ],
        Setting(&["_authtoken", "_auth", "_password", "password", "token", "rubygems_api_key", "http-basic"]),
    ),
    rule(ApiToken, &[".vault-token", "huggingface/token", ".netlify/config.json"], Anything),
    rule(
        StoredPasswords,
        &[
            "keyrings/*.keyring",
            "*.kwl",
            "Login Data",
            "*.kdbx",
            ".password-store/*.gpg",
            ".password-store/*/*.gpg",
        ],
        Anything,
    ),
    // The databases beside it are in every profile, with passwords or without.
    rule(StoredPasswords, &["logins.json"], Contains(&["encryptedPassword"])),
    // Who has somebody's cookies is logged in as that person.
    rule(StoredPasswords, &["cookies.sqlite", "Cookies"], Contains(&["SQLite format 3"])),
    rule(StoredPasswords, &["sitemanager.xml", "recentservers.xml", "filezilla.xml"], Contains(&["<Pass"])),
    rule(StoredPasswords, &[".purple/accounts.xml"], Contains(&["<password>"])),
    rule(StoredPasswords, &["*.remmina"], PASSWORD),
    rule(
        DesktopPassword,
        &[".vnc/passwd", "x11vnc.pass", ".x11vnc/passwd", "vncpasswd", "tigervnc/passwd", "/etc/vnc/passwd"],
        Anything,
    ),
    rule(DnsKey, &["rndc.key", "/etc/bind/*", "*.tsig"], Setting(&["secret"])),
    rule(DnsKey, &["K*.private"], Setting(&["privatekey", "key"])),
    rule(InstallerPassword, &["passwords.dat"], Setting(&["value"])),
    rule(
        InstallerPassword,
        &[
            "*preseed*",
            "*.seed",
            "user-data*",
            "/var/lib/cloud/instances/*/*",
            "/etc/cloud/cloud.cfg",
            "/etc/cloud/cloud.cfg.d/*",
            "*autoinstall*",
            "*ks.cfg",
        ],
        Setting(&[
            "passwd",
            "password",
            "plain_text_passwd",
            "hashed_passwd",
            "root-password*",
            "user-password*",
            "rootpw",
        ]),
    ),
    rule(ClusterKey, &["munge.key", "corosync/authkey", ".erlang.cookie", "ha.d/authkeys"], Anything),
    rule(ClusterKey, &["/etc/ceph/*"], Setting(&["key"])),
    rule(
        SystemdCredential,
        &["/var/lib/systemd/credential.secret", "credstore/*", "credstore.encrypted/*"],
        Anything,
    ),
    rule(
        ProgramPassword,
        &[".env", "*.env", ".env.*", "secrets.yaml", "secrets.yml", "secrets.json", "secrets.toml"],
        Setting(&["*password", "*passwd", "*secret", "*secret_key", "*api_key", "*token", "app_key"]),
    ),
    rule(
        ProgramPassword,
        &[
            "/etc/ansible/hosts",
            "/etc/ansible/*/*",
            "group_vars/*",
            "group_vars/*/*",
            "host_vars/*",
            "host_vars/*/*",
        ],
        Setting(&["ansible_password", "ansible_ssh_pass", "ansible_become_pass*", "ansible_sudo_pass"]),
    ),
    rule(ProgramPassword, &[".vault_pass*", ".vault-pass*", "vault_pass*", "vault-pass*"], Line),
    rule(ProgramPassword, &["config/master.key"], HexId),
    rule(
        ProgramPassword,
        &["jenkins/secrets/*", "jenkins/credentials.xml", "/etc/gitlab/gitlab-secrets.json"],
        Anything,
    ),
];

/// For files of any name that are not of packages.
const ANYWHERE: &[Rule] = &[
    rule(PgpKey, &[], PGP_KEY),
    rule(SshKey, &[], Armour(&["OPENSSH PRIVATE KEY-----", "SSH2 ENCRYPTED PRIVATE KEY ----"])),
    rule(PrivateKey, &[], PEM_KEY),
    rule(PuttyKey, &[], Begins(&[b"PuTTY-User-Key-File-"])),
    rule(PasswordHash, &[], Hash),
    rule(PrivateKey, &[], DerKey),
    rule(KeyStore, &[], DerStore),
    rule(CloudCredentials, &[], CloudKey),
    rule(ApiToken, &[], Token),
    rule(UrlPassword, &[], Url),
    rule(ProgramPassword, &[], Login),
];

/// For files that others name.
pub(super) static DISK_KEY: Rule = rule(DiskKey, &[], Anything);
pub(super) static MOUNT_PASSWORD: Rule = rule(MountPassword, &[], Anything);
pub(super) static VPN_LOGIN: Rule = rule(VpnSecret, &[], Anything);

/// What files are called that show how a real one would look.
const EXAMPLES: [&str; 5] = [".example", ".sample", ".template", ".dist", "-example"];

/// The rules, ready for looking up by names.
pub(super) struct Rules {
    /// By the whole last component: patterns, and the places of their rules in the table.
    literal: HashMap<&'static [u8], Vec<(Pattern, usize)>>,
    wildcard: Vec<(Pattern, usize)>,
    /// By paths from the image's root.
    named: HashMap<PathBuf, &'static Rule>,
}

impl Rules {
    /// `named` are the rules for single files.
    pub(super) fn new(named: HashMap<PathBuf, &'static Rule>) -> Self {
        let mut rules = Self { literal: HashMap::new(), wildcard: Vec::new(), named };
        for (place, rule) in BY_NAME.iter().enumerate() {
            for pattern in rule.paths.iter().map(|path| Pattern::new(path)) {
                if pattern.name.contains('*') {
                    rules.wildcard.push((pattern, place));
                } else {
                    rules.literal.entry(pattern.name.as_bytes()).or_default().push((pattern, place));
                }
            }
        }
        rules
    }

    /// The rules for a file of that name in `folder`, in their order.
    pub(super) fn of(&self, folder: &Path, name: &[u8]) -> Vec<&'static Rule> {
        let mut found = Vec::new();
        if !self.named.is_empty() {
            found.extend(self.named.get(&folder.join(OsStr::from_bytes(name))));
        }
        if EXAMPLES.iter().any(|end| name.ends_with(end.as_bytes())) {
            return found;
        }
        let literal = self.literal.get(name).into_iter().flatten();
        let matching = literal.chain(&self.wildcard).filter(|(pattern, _)| pattern.matches(folder, name));
        let mut places: Vec<usize> = matching.map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        found.extend(places.into_iter().map(|place| &BY_NAME[place]));
        found
    }
}

/// The kind of secret in a content, if there is one: by the rules for the file's name, and if `anywhere`
/// is set by those for any name.
pub(super) fn judge(by_name: &[&Rule], anywhere: bool, content: &[u8]) -> Option<Kind> {
    let anywhere = if anywhere { ANYWHERE } else { &[] };
    let mut rules = by_name.iter().copied().chain(anywhere);
    rules.find(|rule| rule.evidence.is_in(content)).map(|rule| rule.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_rules_for_many_kinds_and_none_is_without_a_place() {
        let kinds: BTreeSet<Kind> = BY_NAME.iter().map(|rule| rule.kind).collect();
        assert!(kinds.len() > 30);
        assert!(BY_NAME.iter().all(|rule| !rule.paths.is_empty()));
    }
}
