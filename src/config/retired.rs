//! Files and variables of earlier releases that have no effect any more.

use super::legacy::Sources;
use super::variables::Variables;
use crate::error::shown;

/// Files of earlier releases that nobody reads any more (H19, H41).
pub(super) fn files(sources: Sources<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let current = sources.etc.join("ltsp/ltsp-server.conf");
    for old in ["ltsp/common-server.conf", "ltsp/common.conf"] {
        let old = sources.etc.join(old);
        if old.exists() && !current.exists() {
            let (old, current) = (shown(&old), shown(&current));
            warnings.push(format!("{old} is not read any more: rename it to {current}"));
        }
    }
    let old = sources.etc.join("default/ltsp-update-image");
    if sources.tool == "ltsp-update-image" && old.exists() {
        let new = shown(sources.etc.join("ltsp/ltsp-update-image.conf"));
        warnings.push(format!("{} is not read any more: move its settings to {new}", shown(&old)));
    }
    warnings
}

/// Variables of earlier releases that have no effect any more (H18, H30).
pub(super) fn variables(tool: &str, variables: &Variables) -> Vec<String> {
    let retired: &[(&str, &str)] = match tool {
        "ltsp-update-image" => &[(
            "LTSP_UPDATE_IMAGE_DISABLED",
            "it does not stop this program any more; do not call it instead",
        )],
        "ltsp-update-kernels" => &[
            ("TFTPDIRS", "the name is TFTP_DIRS now"),
            ("TFTPBOOTDIR", "the name is TFTP_BOOT_DIR now"),
            ("COPYTFTP", "kernels are always copied"),
        ],
        _ => &[],
    };
    let told = |&(name, instead): &(&str, &str)| {
        variables.non_empty(name)?;
        let origin = variables.origin(name)?;
        Some(format!("{name} (from {origin}) is ignored: {instead}"))
    };
    retired.iter().filter_map(told).collect()
}
