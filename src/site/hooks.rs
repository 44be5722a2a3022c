//! Hooks: shell code in variables whose names begin with PRE_APPLET_ or POST_APPLET_ (F35).

use crate::config::modern::check_trust;
use crate::config::variables::Variables;
use crate::error::Result;

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the applet, whose settings it can change.
    Before,
    /// After the applet has succeeded.
    After,
}

/// The names of the hooks that are set, in the order of their bytes, which is that of running them.
pub fn names(variables: &Variables, when: When, applet: &str) -> Vec<String> {
    let when = if when == When::Before { "PRE" } else { "POST" };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let start = format!("{when}_{}_", applet.chars().map(plain).collect::<String>());
    let hooks = variables.iter().filter(|(name, value, _)| name.starts_with(&start) && !value.is_empty());
    hooks.map(|(name, ..)| name.to_owned()).collect()
}

/// The hooks of these names as one script.
///
/// # Errors
/// When one is from a file that others than `owner` can have written.
pub(super) fn script(variables: &Variables, names: &[String], owner: u32) -> Result<Vec<u8>> {
    let mut script = Vec::new();
    for name in names {
        check_trust(variables, name, owner)?;
        script.extend_from_slice(variables.get(name).unwrap_or_default().as_encoded_bytes());
        script.push(b'\n');
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    // F35
    #[test]
    fn hooks_are_chosen_by_name_and_run_in_the_order_of_its_bytes() {
        let names_of = |when, applet| {
            let environment = [
                ("PRE_IMAGE_b", "3"),
                ("PRE_IMAGE_", "1"),
                ("PRE_IMAGE_Z", "2"),
                ("PRE_IMAGE_EMPTY", ""),
                ("PRE_IMAGE", "x"),
                ("PRE_IMAGES_X", "x"),
                ("PRE_KERNEL_X", "x"),
                ("POST_IMAGE_X", "x"),
                ("PRE_INITRD_BOTTOM_X", "x"),
            ];
            let environment = environment.map(|(name, value)| (name.into(), value.into()));
            names(&Variables::from_environment(environment), when, applet)
        };
        assert_eq!(names_of(When::Before, "image"), ["PRE_IMAGE_", "PRE_IMAGE_Z", "PRE_IMAGE_b"]);
        assert_eq!(names_of(When::After, "image"), ["POST_IMAGE_X"]);
        assert_eq!(names_of(When::Before, "initrd-bottom"), ["PRE_INITRD_BOTTOM_X"]);
        assert!(names_of(When::After, "kernel").is_empty());
    }
}
