use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::*;
use crate::config::settings::{Audit, KernelRule};

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let environment = pairs.iter().map(|(name, value)| (name.into(), value.into()));
    let mut variables = Variables::from_environment(environment);
    defaults(&mut variables);
    variables
}

fn image(pairs: &[(&str, &str)]) -> Result<(ImageSettings, Vec<String>)> {
    image_settings(&variables(pairs), ImageRequest::default(), "/nowhere".as_ref(), 0)
}

fn settings(pairs: &[(&str, &str)]) -> ImageSettings {
    image(pairs).unwrap().0
}

// I1, I2
#[test]
fn without_settings_an_image_is_cleaned_backed_up_and_looked_through() {
    let found = settings(&[]);
    assert_eq!((found.base_dir, found.tftp_dir), ("/srv/ltsp".into(), "/srv/tftp".into()));
    assert!(found.backup && found.cleanup && found.overlay && !found.verify && !found.all_images);
    assert_eq!((found.keep, found.revert, found.ionice), (1, None, None));
    assert_eq!((found.audit, found.engine), (Audit::Warn, crate::config::settings::Engine::Automatic));
    assert!(found.omitted.is_empty() && found.mksquashfs_params.is_empty());
    assert!(found.excludes.patterns.iter().any(|pattern| pattern.text() == "home/*"));
}

// I2, F16 (2)
#[test]
fn only_zero_switches_off_and_doubtful_values_are_told() {
    for (value, on, doubtful) in
        [("0", false, false), ("1", true, false), ("", true, false), ("no", true, true), ("00", true, true)]
    {
        let (found, warnings) = image(&[("BACKUP", value), ("CLEANUP", value)]).unwrap();
        assert_eq!((found.backup, found.cleanup), (on, on), "{value}");
        assert_eq!(warnings.len(), if doubtful { 2 } else { 0 }, "{warnings:?}");
    }
    for (value, revert, doubtful) in [
        ("1", Some(1), false),
        ("0", None, false),
        ("2", Some(2), false),
        ("yes", None, true),
        ("-1", None, true),
    ] {
        let (found, warnings) = image(&[("REVERT", value)]).unwrap();
        assert_eq!(found.revert.map(NonZeroU32::get), revert, "{value}");
        assert_eq!(!warnings.is_empty(), doubtful, "{warnings:?}");
    }
    assert!(settings(&[("ALL_IMAGES", "1")]).all_images && !settings(&[("ALL_IMAGES", "yes")]).all_images);
    assert!(!settings(&[("OVERLAY", "0")]).overlay && settings(&[("OVERLAY", "no")]).overlay);
    assert_eq!(settings(&[("BASE_DIR", ""), ("TFTP_DIR", "/t")]).base_dir, Path::new("/srv/ltsp"));
}

#[test]
fn the_backup_is_one_of_the_images_that_are_kept() {
    for (keep, backup, expected) in
        [("", "1", 1), ("", "0", 0), ("0", "1", 1), ("3", "1", 3), ("3", "0", 3), ("0", "0", 0)]
    {
        assert_eq!(settings(&[("KEEP_BACKUPS", keep), ("BACKUP", backup)]).keep, expected, "{keep} {backup}");
    }
    for (name, value) in [("KEEP_BACKUPS", "all"), ("AUDIT", "yes"), ("ENGINE", "fast")] {
        let error = image(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(value) && error.contains("hint: "), "{error}");
    }
}

// I32, I34
#[test]
fn an_empty_prefix_is_something_else_than_none() {
    assert_eq!(settings(&[("IONICE", "")]).ionice, Some(Vec::new()));
    assert_eq!(settings(&[("IONICE", " nice -n 5 ")]).ionice.unwrap(), ["nice", "-n", "5"]);
    let params = settings(&[("MKSQUASHFS_PARAMS", " -comp xz  -Xdict-size 50% \"a b\"")]).mksquashfs_params;
    assert_eq!(params, ["-comp", "xz", "-Xdict-size", "50%", "\"a", "b\""]);
}

// F36, F37
#[test]
fn steps_are_left_out_by_the_names_of_functions_and_scripts() {
    let found = settings(&[
        ("OMIT_FUNCTIONS", "remove_users no_such_thing  ssl_cert"),
        ("LTSP_SKIP_SCRIPTS", "x,cleanup"),
    ]);
    assert_eq!(found.omitted, BTreeSet::from([Step::Users, Step::SslCert, Step::Cleanup]));
    assert!(!found.cleanup);
    assert!(settings(&[("OMIT_FUNCTIONS", "image_excludes")]).excludes.patterns.is_empty());
    for (name, value) in [("OMIT_FUNCTIONS", "image_main"), ("LTSP_SKIP_SCRIPTS", "image")] {
        assert!(image(&[(name, value)]).is_err());
        image(&[(name, value), ("REVERT", "1")]).unwrap();
    }
}

// K14
#[test]
fn each_line_of_kernel_initrd_is_a_rule_but_for_comments() {
    let value = "boot/Im*  s,Image, a b,\n# a comment\n\n#x y\n  Image \n";
    let found = kernel_settings(&variables(&[("KERNEL_INITRD", value)]), Vec::new()).unwrap();
    let rule = |glob: &str, expression: &str| KernelRule { glob: glob.into(), expression: expression.into() };
    let expected = [rule("boot/Im*", "s,Image, a b,"), rule("#x", "y"), rule("Image", "")];
    assert_eq!(found.kernel_initrd, expected);
    assert_eq!(kernel_settings(&variables(&[("RPI_IMAGE", "")]), Vec::new()).unwrap().rpi_image, None);
}

// F16, F17
#[test]
fn global_options_win_over_configuration_unless_they_are_empty() {
    let globals = Globals {
        given: vec![
            ("BASE_DIR", "base-dir", "/first".into()),
            ("BASE_DIR", "base-dir", "/option".into()),
            ("TFTP_DIR", "tftp-dir", "".into()),
        ],
    };
    let mut variables = variables(&[("BASE_DIR", "/environment"), ("TFTP_DIR", "/environment")]);
    globals.apply(&mut variables);
    assert_eq!(variables.get("BASE_DIR").unwrap(), "/option");
    assert_eq!(variables.get("TFTP_DIR").unwrap(), "");
    assert!(kernel_settings(&variables, Vec::new()).is_err());
    for name in ["BASE_DIR", "TFTP_DIR"] {
        variables.assign(name, "/file", Origin::Default);
    }
    globals.win(&mut variables);
    assert_eq!(variables.get("BASE_DIR").unwrap(), "/option");
    assert_eq!(variables.get("TFTP_DIR").unwrap(), "/file");
}

#[test]
fn a_command_from_a_file_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ltsp.conf");
    std::fs::write(&path, "").unwrap();
    let owner = rustix::process::geteuid().as_raw();
    let mut variables = variables(&[]);
    variables.assign("IONICE", "evil", Origin::File(path.clone(), Some(1)));
    image_settings(&variables, ImageRequest::default(), "/nowhere".as_ref(), owner).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = image_settings(&variables, ImageRequest::default(), "/nowhere".as_ref(), owner);
    assert!(refused.unwrap_err().to_string().contains("root must not run IONICE"));
}

// F9
#[test]
fn child_programs_get_a_locale() {
    for (value, expected) in [("C", "C.UTF-8"), ("", "C.UTF-8"), ("de_DE", "de_DE"), ("POSIX", "POSIX")] {
        let mut variables = variables(&[("LANG", value)]);
        locale(&mut variables);
        assert_eq!(variables.get("LANG").unwrap(), expected);
        assert!(variables.is_exported("LANG"));
    }
}
