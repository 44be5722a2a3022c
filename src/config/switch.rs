//! Settings that are on or off, and values of them that somebody may have meant differently.

use super::variables::Variables;
use crate::error::shown;

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// The variable.
    pub name: &'static str,
    /// Any value that is not empty means on; else only `true` does (S9).
    pub any_value: bool,
    /// What a doubtful value leads to, as the end of a sentence; may be empty.
    pub consequence: &'static str,
}

impl Switch {
    /// A switch that only `true` turns on.
    pub const fn only_true(name: &'static str) -> Self {
        Self { name, any_value: false, consequence: "" }
    }

    /// A switch that every value turns on.
    pub const fn any_value(name: &'static str) -> Self {
        Self { name, any_value: true, consequence: "" }
    }

    /// Whether it is on.
    pub fn is_on(&self, variables: &Variables) -> bool {
        if self.any_value { variables.non_empty(self.name).is_some() } else { variables.is_true(self.name) }
    }

    /// What to say about a value that is neither empty nor `true` (D39).
    pub fn doubt(&self, variables: &Variables) -> Option<String> {
        let value = variables.non_empty(self.name).filter(|value| *value != "true")?;
        let origin = variables.origin(self.name)?;
        let (read, rule) = if self.any_value {
            ("on", "every value but the empty one turns it on")
        } else {
            ("off", "only the value true turns it on")
        };
        let Self { name, consequence, .. } = self;
        Some(format!("{name}={} (from {origin}) is read as {read}: {rule}{consequence}", shown(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables::Origin;

    // S9, D39
    #[test]
    fn a_doubtful_value_is_told_with_its_reading() {
        let mut variables = Variables::default();
        for (name, value) in [("NO_BACKUP", "yes"), ("REVERT", ""), ("CLEANUP", "true")] {
            variables.assign(name, value, Origin::Environment);
        }
        variables.assign("NO_COMPRESS", "false", Origin::File("/x.conf".into(), Some(2)));
        for (switch, on, said) in [
            (Switch::only_true("NO_BACKUP"), false, "NO_BACKUP=yes (from the environment) is read as off"),
            (Switch::any_value("NO_COMPRESS"), true, "NO_COMPRESS=false (from /x.conf:2) is read as on"),
            (Switch::only_true("REVERT"), false, ""),
            (Switch::only_true("CLEANUP"), true, ""),
            (Switch::any_value("REVERT"), false, ""),
            (Switch::any_value("CLEANUP"), true, ""),
            (Switch::only_true("UNSET"), false, ""),
        ] {
            assert_eq!(switch.is_on(&variables), on, "{}", switch.name);
            let doubt = switch.doubt(&variables).unwrap_or_default();
            assert_eq!(doubt.is_empty(), said.is_empty(), "{}: {doubt}", switch.name);
            assert!(doubt.contains(said), "{doubt}");
        }
    }
}
