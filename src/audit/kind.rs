//! The kinds of secrets.

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The key by which clients of an ssh server know it.
    SshHostKey,
    /// The key of somebody who logs in by ssh.
    SshKey,
    /// The key of a server's certificate.
    TlsKey,
    /// A private key for another purpose, or one that cannot be told.
    PrivateKey,
    /// A private key of PuTTY.
    PuttyKey,
    /// A secret key of OpenPGP.
    PgpKey,
    /// A file of certificates with their private keys (PKCS #12, Java).
    KeyStore,
    /// The hash of a password, which can be guessed at leisure.
    PasswordHash,
    /// The number by which one machine is known.
    MachineId,
    /// What one machine alone should know: the seed of its random numbers, for example.
    MachineSecret,
    /// The key to an account at a provider of machines or storage.
    CloudCredentials,
    /// The key to a Kubernetes cluster.
    KubernetesCredentials,
    /// The password of a registry of container images.
    RegistryCredentials,
    /// Passwords for hosts in the network (netrc).
    NetrcPassword,
    /// A password or token for a git server.
    GitCredentials,
    /// The password of a database.
    DatabasePassword,
    /// A password for a wireless or wired network.
    NetworkPassword,
    /// A key or ticket of Kerberos.
    KerberosKey,
    /// Passwords and machine secrets of Samba.
    SambaSecrets,
    /// A password for network file systems.
    MountPassword,
    /// A key of WireGuard.
    WireGuardKey,
    /// A secret of another kind of virtual private network, or of PPP.
    VpnSecret,
    /// What somebody typed: now and then a password.
    ShellHistory,
    /// What opens an encrypted disk.
    DiskKey,
    /// The password of a mail account.
    MailPassword,
    /// The password with which programs log in to a directory service.
    DirectoryPassword,
    /// Passwords of users in LTSP's own configuration.
    LtspPassword,
    /// A token for some web service.
    ApiToken,
    /// The passwords that a browser, desktop or password manager keeps.
    StoredPasswords,
    /// The password of a shared desktop.
    DesktopPassword,
    /// A key for changes in the domain name system.
    DnsKey,
    /// A password that was given to an installer.
    InstallerPassword,
    /// A key shared by the machines of a cluster.
    ClusterKey,
    /// A secret that systemd keeps or hands to services.
    SystemdCredential,
    /// A password in the settings of a program.
    ProgramPassword,
    /// A password in an address (`https://user:password@host`).
    UrlPassword,
}

impl Kind {
    /// Its name in JSON: lower case, with hyphens. It never changes.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::SshHostKey => ("ssh-host-key", "an ssh host key"),
            Self::SshKey => ("ssh-key", "a private ssh key"),
            Self::TlsKey => ("tls-key", "the private key of a certificate"),
            Self::PrivateKey => ("private-key", "a private key"),
            Self::PuttyKey => ("putty-key", "a private key of PuTTY"),
            Self::PgpKey => ("pgp-key", "a secret key of OpenPGP"),
            Self::KeyStore => ("key-store", "a store of private keys"),
            Self::PasswordHash => ("password-hash", "the hash of a password"),
            Self::MachineId => ("machine-id", "the id of one machine"),
            Self::MachineSecret => ("machine-secret", "a secret of one machine"),
            Self::CloudCredentials => ("cloud-credentials", "credentials of a cloud provider"),
            Self::KubernetesCredentials => ("kubernetes-credentials", "credentials of a Kubernetes cluster"),
            Self::RegistryCredentials => ("registry-credentials", "credentials of a container registry"),
            Self::NetrcPassword => ("netrc-password", "a password for other hosts"),
            Self::GitCredentials => ("git-credentials", "credentials of a git server"),
            Self::DatabasePassword => ("database-password", "the password of a database"),
            Self::NetworkPassword => ("network-password", "a password or key of a network"),
            Self::KerberosKey => ("kerberos-key", "a key of Kerberos"),
            Self::SambaSecrets => ("samba-secrets", "secrets of Samba"),
            Self::MountPassword => ("mount-password", "a password for a network file system"),
            Self::WireGuardKey => ("wireguard-key", "a key of WireGuard"),
            Self::VpnSecret => ("vpn-secret", "a secret of a private network or of PPP"),
            Self::ShellHistory => ("shell-history", "what somebody has typed"),
            Self::DiskKey => ("disk-key", "the key of an encrypted disk"),
            Self::MailPassword => ("mail-password", "the password of a mail account"),
            Self::DirectoryPassword => ("directory-password", "a password for a directory service"),
            Self::LtspPassword => ("ltsp-password", "a password in the configuration of LTSP"),
            Self::ApiToken => ("api-token", "a token of a web service"),
            Self::StoredPasswords => ("stored-passwords", "passwords that a program keeps"),
            Self::DesktopPassword => ("desktop-password", "the password of a shared desktop"),
            Self::DnsKey => ("dns-key", "a key for name servers"),
            Self::InstallerPassword => ("installer-password", "a password that an installer was given"),
            Self::ClusterKey => ("cluster-key", "the key of a cluster"),
            Self::SystemdCredential => ("systemd-credential", "a secret of systemd"),
            Self::ProgramPassword => ("program-password", "a password in a program's settings"),
            Self::UrlPassword => ("url-password", "a password in an address"),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.names().1)
    }
}
