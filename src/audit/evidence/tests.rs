use super::Evidence::*;
use super::*;

#[track_caller]
fn check(evidence: Evidence, cases: &[(&str, bool)]) {
    for (content, expected) in cases {
        assert_eq!(evidence.is_in(content.as_bytes()), *expected, "{evidence:?} in {content:?}");
    }
}

#[test]
fn an_armoured_key_is_told_from_a_text_about_keys() {
    check(
        Armour(&["PRIVATE KEY-----", "SSH2 ENCRYPTED PRIVATE KEY ----"]),
        &[
            ("-----BEGIN PRIVATE KEY-----\nMIIE\n", true),
            ("cert\n-----BEGIN RSA PRIVATE KEY-----\r\nMIIE\r\n", true),
            ("  key: |\n    -----BEGIN EC PRIVATE KEY-----\n    MIIE\n", true),
            ("{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIE\"}", true),
            ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/5\n", true),
            ("-----BEGIN CERTIFICATE-----\nMIIE\n", false),
            ("-----BEGIN PUBLIC KEY-----\nMIIE\n", false),
            ("if (line == \"-----BEGIN RSA PRIVATE KEY-----\") {\n", false),
            ("grep -----BEGIN.*PRIVATE KEY----- file\n", false),
            ("PRIVATE KEY-----\n", false),
        ],
    );
}

#[test]
fn a_setting_counts_if_it_has_a_value() {
    check(
        Setting(&["password", "auth"]),
        &[
            ("password = x\n", true),
            ("Password:x\n", true),
            ("machine a login b password c\n", true),
            ("{\"auths\":{\"r\":{\"auth\":\"dXNlcg==\"}}}", true),
            ("- password: 'x'\n", true),
            ("//h/s /m cifs user=a,password=b 0 0\n", true),
            ("'password' => 'x'\n", true),
            ("# password = x\n", false),
            ("; password = x\n", false),
            ("password =\n", false),
            ("password = \"\"\n", false),
            ("password = ${PASSWORD}\n", false),
            ("password = <your password>\n", false),
            ("password = $PASSWORD\n", false),
            ("password = $db_password;\n", false),
            ("password = $_POST['x'];\n", false),
            ("password = $ecret\n", true),
            ("$config['password'] = 'x';\n", true),
            ("$x = $_POST['password'];\n", false),
            ("// the password (if any)\n", false),
            ("/* password = x */\n", false),
            ("//host/share /mnt cifs password=x 0 0\n", true),
            ("password = $6$salt$hash\n", true),
            ("password\n", false),
            ("no_password = x\n", false),
            ("password-flags = 1\n", false),
            ("\"auth\": {}\n", false),
        ],
    );
    check(
        Setting(&["passwords*", "*secret"]),
        &[
            ("PASSWORDS_LAB=\"a/b\"\n", true),
            ("MY_SECRET=x\n", true),
            ("PASSWORDS_LAB=\n", false),
            ("SECRETS=x\n", false),
        ],
    );
}

#[test]
fn hashes_are_told_from_locks_and_from_other_texts() {
    check(
        HashField,
        &[
            ("root:$y$j9T$salt$hash:19000:0:99999:7:::\n", true),
            ("a:*:1::::::\nb:!$6$salt$hash:1::::::\n", true),
            ("web:$apr1$a$b\n", true),
            ("web:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n", true),
            ("old:ab01CDefGHijk:1::::::\n", true),
            ("root:*:19000:0:99999:7:::\nme:!:1::::::\nx:x:1:1::/:\n+nis::::::::\n", false),
            ("root:!*:1::::::\nnone::1::::::\n", false),
        ],
    );
    check(
        Hash,
        &[
            ("x = '$6$saltsalt$0123456789012345678901234567890123456789'\n", true),
            ("$2y$10$0123456789012345678901234567890123456789012345678901\n", true),
            ("echo $1$2 $6$x \"$5$DIRECTORY/$name\"\n", false),
            ("$6$salt$short\n", false),
            ("\0SCRAM-SHA-256$4096:c2FsdA==$a:b\0", true),
            ("the method SCRAM-SHA-256$ or so\n", false),
        ],
    );
}

#[test]
fn passwords_in_addresses_are_told_from_examples() {
    check(
        Url,
        &[
            ("https://me:s3cret@git.example.org/x\n", true),
            ("deb http://user:pw1@mirror/debian stable main\n", true),
            ("proxy = http://user:password@proxy:3128\n", false),
            ("# https://me:s3cret@git.example.org/x\n", false),
            ("smb://me:s3c%40ret@server/laser\n", true),
            ("printf(\"http://%s:%s@host\")\n", false),
            ("https://me@git.example.org:443/x\n", false),
            ("https://host:443/@x\n", false),
            ("ftp://anonymous:@host/\n", false),
            ("http://$USER:$PASS@host\n", false),
        ],
    );
}

#[test]
fn the_rest() {
    let token = format!("x=\"ghp_{}\"", "a1".repeat(18));
    check(Token, &[(&token, true), ("ghp_short", false), (&token.replace("ghp", "xghp"), false)]);
    check(
        PppSecret,
        &[
            ("# client server secret\nme\tisp\ts3cret\t*\n", true),
            ("*\thostname\t\"\"\t*\nguest hostname \"*\" -\n", false),
        ],
    );
    check(HexId, &[("0123456789abcdef0123456789abcdef\n", true), ("uninitialized\n", false), ("\n", false)]);
    check(Line, &[("# x\n\n", false), ("# x\ny\n", true)]);
    check(Begins(&[b"ab", b"cd"]), &[("cde", true), ("xab", false)]);
    check(Contains(&["ab"]), &[("xxaab", true), ("a b", false)]);
}

#[test]
fn tokens_are_told_from_long_names() {
    let letters = "a1".repeat(30);
    for start in ["ghp_", "glpat-", "SG.", "AGE-SECRET-KEY-", "github_pat_", "sk-ant-"] {
        assert!(Token.is_in(format!("x=\"{start}{letters}\"").as_bytes()), "{start}");
        assert!(!Token.is_in(format!("x{start}{letters}").as_bytes()), "{start}");
    }
    let name = "npm_the_name_of_a_function_in_a_program_that_is_long";
    assert!(!Token.is_in(name.as_bytes()));
}

#[test]
fn a_login_has_a_name_and_a_password() {
    check(
        Login,
        &[
            ("username=me\npassword=x\n", true),
            ("  User: me\n  Pass: 'x'\n", true),
            ("user = me\n", false),
            ("username=\npassword=\n", false),
            ("username=me\n#password=x\n", false),
            ("user me\npassword x\n", false),
            ("no-user=me\npassword=x\n", false),
            ("username=$1\npassword=$PASSWORD\n", false),
        ],
    );
}

#[test]
fn in_programs_a_value_has_to_be_assigned() {
    check(
        Assignment(&["*_password", "--password"]),
        &[
            ("Environment=DB_PASSWORD=s3cret\n", true),
            ("0 3 * * * root mysqldump --password=s3cret db\n", true),
            ("  POSTGRES_PASSWORD: s3cret\n", true),
            ("DB_PASSWORD=$(cat /run/x)\n", false),
            ("DB_PASSWORD=$1\n", false),
            ("DB_PASSWORD=\"$@\"\n", false),
            ("[ -z \"$DB_PASSWORD\" ] && exit\n", false),
            ("[ \"$DB_PASSWORD\" = x ]\n", false),
            ("${DB_PASSWORD:-x}\n", false),
            ("read -r DB_PASSWORD\n", false),
            ("mysqldump --password db\n", false),
            ("mysqldump --password=\"$pw\" db\n", false),
        ],
    );
}

#[test]
fn keys_of_clouds_are_found_in_any_file() {
    let key = "Ab0+/".repeat(17);
    check(
        CloudKey,
        &[
            ("export AWS_SECRET_ACCESS_KEY='x'\n", true),
            ("    \"aws_secret_access_key\": \"x\"\n", true),
            ("aws_secret_access_key = ${KEY}\n", false),
            (&format!("AccountName=a;AccountKey={key}==;\n"), true),
            ("AccountKey=<your key>\n", false),
        ],
    );
}

// X.509 begins with a sequence in a sequence, too, as does a request for a certificate.
#[test]
fn binary_keys_are_told_from_certificates() {
    for (start, key) in [
        (&[0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82][..], true),
        (&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3], true),
        (&[0x30, 0x77, 2, 1, 1, 4, 0x20], true),
        (&[0x30, 0x81, 0xaf, 0x30, 0x40, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 0x0d], true),
        (&[0x30, 0x82, 4, 0xa4, 0x30, 0x82, 3, 0x8c, 0xa0, 3, 2, 1, 2], false),
        (&[0x30, 0x82, 1, 0, 2, 1, 3, 0x30, 0x82], false),
        (&[0x30], false),
    ] {
        assert_eq!(DerKey.is_in(start), key, "{start:x?}");
    }
    assert!(DerStore.is_in(&[0x30, 0x82, 1, 0, 2, 1, 3, 0x30, 0x82]));
    assert!(!DerStore.is_in(&[0x30, 0x82, 1, 0, 2, 1, 0, 0x30, 0x82]));
}
