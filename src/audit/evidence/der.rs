//! Private keys in DER, the binary form of ASN.1.

/// The content of a sequence in DER (X.690, 8.1 and 8.9), as far as it is there.
pub(super) fn sequence(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0x30, length, rest @ ..] if *length < 0x80 => Some(rest),
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] => Some(rest),
        _ => None,
    }
}

/// PKCS #8 (RFC 5958, 2 and 3), also encrypted; PKCS #1 of RSA (RFC 8017, A.1.2); elliptic curves (RFC 5915).
pub(super) fn is_der_key(content: &[u8]) -> bool {
    match sequence(content) {
        // A version, and an algorithm, a modulus or a key.
        Some([2, 1, 0, 0x30 | 2, ..] | [2, 1, 1, 0x30 | 4, ..]) => true,
        // An algorithm of PKCS #5.
        Some(inner) => sequence(inner).is_some_and(|algorithm| {
            algorithm.starts_with(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5])
        }),
        None => false,
    }
}
