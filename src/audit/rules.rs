//! The rules: where secrets of each kind lie, and what they look like.

use std::collections::HashMap;
use std::path::Path;

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
const PEM_KEY: Evidence =
    Armour(&["PRIVATE KEY-----", "SSH2 ENCRYPTED PRIVATE KEY ----", "OpenVPN Static key V1-----"]);
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
    rule(TlsKey, &["*.key", "*.der", "*.pk8", "*.pem"], DerKey),
    rule(TlsKey, &["private_key.json"], Contains(&["\"d\""])),
    rule(PuttyKey, &["*.ppk"], Begins(&[b"PuTTY-User-Key-File-"])),
    rule(PgpKey, &[".gnupg/private-keys-v1.d/*", "private-keys-v1.d/*.key", "secring.gpg"], Anything),
    rule(PgpKey, &["*.asc", "*.gpg", "*.pgp", "*.key"], PGP_KEY),
    // A packet of type 5 comes first (RFC 4880, 4.2 and 4.3).
    rule(PgpKey, &["*.gpg", "*.pgp"], Begins(&[&[0x94], &[0x95], &[0x96], &[0xc5]])),
    rule(
        KeyStore,
        &["*.p12", "*.pfx", "*.jks", "*.keystore", "*.jceks"],
        Begins(&[&[0x30, 0x82], &[0x30, 0x80], &[0xfe, 0xed, 0xfe, 0xed], &[0xce, 0xce, 0xce, 0xce]]),
    ),
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
        ],
        HashField,
    ),
    rule(PasswordHash, &[".htdigest*", "*htdigest*", "/etc/cups/passwd.md5"], Line),
    rule(
        PasswordHash,
        &["/etc/grub.d/*", "/boot/grub/*.cfg", "/etc/default/grub"],
        Contains(&["grub.pbkdf2.sha"]),
    ),
    rule(MachineId, &["/etc/machine-id", "/var/lib/dbus/machine-id"], HexId),
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
            "wp-config.php",
        ],
        Setting(&["password", "dbpass", "dbc_dbpass", "requirepass", "masterauth"]),
    ),
    rule(DatabasePassword, &["wp-config.php"], Contains(&["DB_PASSWORD"])),
    rule(
        NetworkPassword,
        &[
            "wpa_supplicant*.conf",
            "/etc/wpa_supplicant/*",
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
        ],
        PASSWORD,
    ),
    rule(MountPassword, &["davfs2/secrets"], Line),
    rule(
        WireGuardKey,
        &["/etc/wireguard/*", "/etc/wireguard/*/*", "wg*.conf", "*.netdev"],
        Setting(&["privatekey", "presharedkey"]),
    ),
    rule(WireGuardKey, &["/etc/wireguard/*key*", "/etc/wireguard/*/*key*"], Anything),
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
    rule(ShellHistory, &[".*_history", ".*-history", "fish_history", ".histfile", ".history"], Anything),
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
    rule(DirectoryPassword, &["/etc/*ldap*.secret", "/etc/ldap.secret"], Anything),
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
            "logins.json",
            "key3.db",
            "key4.db",
            "Login Data",
            "*.kdbx",
            ".password-store/*.gpg",
            ".password-store/*/*.gpg",
        ],
        Anything,
    ),
    rule(DesktopPassword, &[".vnc/passwd", "x11vnc.pass", ".x11vnc/passwd", "vncpasswd"], Anything),
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
        &[".env", "*.env"],
        Setting(&["*password", "*passwd", "*secret", "*secret_key", "*api_key", "*token", "app_key"]),
    ),
];

/// For files of any name that are not of packages.
const ANYWHERE: &[Rule] = &[
    rule(PgpKey, &[], PGP_KEY),
    rule(SshKey, &[], Armour(&["OPENSSH PRIVATE KEY-----", "SSH2 ENCRYPTED PRIVATE KEY ----"])),
    rule(PrivateKey, &[], PEM_KEY),
    rule(PuttyKey, &[], Begins(&[b"PuTTY-User-Key-File-"])),
    rule(PasswordHash, &[], Hash),
    rule(ApiToken, &[], Token),
    rule(UrlPassword, &[], Url),
];

/// The rules, ready for looking up by names.
pub(super) struct Rules {
    /// By the whole last component: patterns, and the places of their rules in the table.
    literal: HashMap<&'static [u8], Vec<(Pattern, usize)>>,
    wildcard: Vec<(Pattern, usize)>,
}

impl Rules {
    pub(super) fn new() -> Self {
        let mut rules = Self { literal: HashMap::new(), wildcard: Vec::new() };
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
        let literal = self.literal.get(name).into_iter().flatten();
        let matching = literal.chain(&self.wildcard).filter(|(pattern, _)| pattern.matches(folder, name));
        let mut places: Vec<usize> = matching.map(|(_, place)| *place).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|place| &BY_NAME[place]).collect()
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
