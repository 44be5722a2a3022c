//! Bytes as text: base64, hexadecimal, and the text-or-base64 form of extended attributes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PREFIX: &str = "base64:";

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place) & 63) as usize;
            out.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    out
}

/// # Errors
/// A character that base64 does not have.
pub fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let Some(value) = ALPHABET.iter().position(|letter| *letter == byte) else {
            return Err(format!("not base64: {text}"));
        };
        word = word << 6 | value as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 0xff) as u8);
        }
    }
    Ok(out)
}

/// The value of an extended attribute as cases write it: readable text as it is, other bytes in base64.
pub fn attribute_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("{PREFIX}{}", to_base64(value)),
    }
}

/// # Errors
/// The part after `base64:` is no base64.
pub fn attribute_bytes(text: &str) -> Result<Vec<u8>, String> {
    match text.strip_prefix(PREFIX) {
        Some(encoded) => from_base64(encoded),
        None => Ok(text.as_bytes().to_owned()),
    }
}
