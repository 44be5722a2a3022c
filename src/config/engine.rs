//! The choice of the program that writes images.

use super::settings::Engine;
use super::variables::Variables;
use crate::error::{Error, Result, shown};

/// The program that writes the image; `ENGINE` is a setting of ours, for both front ends.
///
/// # Errors
/// When there is no such program.
pub fn engine(variables: &Variables) -> Result<Engine> {
    let Some(name) = variables.non_empty("ENGINE") else { return Ok(Engine::Automatic) };
    match name.to_str() {
        Some("auto") => Ok(Engine::Automatic),
        Some("builtin") => Ok(Engine::BuiltIn),
        Some("mksquashfs") => Ok(Engine::Mksquashfs),
        _ => {
            let origin =
                variables.origin("ENGINE").map_or_else(String::new, |origin| format!(" (from {origin})"));
            Err(Error::said(format!("there is no engine `{}`{origin}", shown(name)))
                .hint("use auto, builtin or mksquashfs"))
        }
    }
}
