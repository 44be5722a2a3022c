//! A case with `variants` is a table: for each of them the case with some of its fields changed.

use serde_json::{Value, json};

/// The texts of the cases in a file: the file itself, or a case for each of its `variants`.
///
/// A variant's name is added to the case's `id` and `title`; its value replaces fields of the case;
/// objects are merged.
///
/// # Errors
/// The file is no JSON object, or has variants that are none.
pub fn expanded(text: String) -> Result<Vec<String>, String> {
    let mut case: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let Some(variants) = case.as_object_mut().and_then(|case| case.remove("variants")) else {
        return Ok(vec![text]);
    };
    let variants = variants.as_object().ok_or("`variants` is no object")?;
    let with = |name: &String, change: &Value| {
        let mut case = case.clone();
        case["id"] = json!(format!("{}-{name}", case["id"].as_str().unwrap_or_default()));
        case["title"] = json!(format!("{}: {name}", case["title"].as_str().unwrap_or_default()));
        merge(&mut case, change);
        case.to_string()
    };
    Ok(variants.iter().map(|(name, change)| with(name, change)).collect())
}

/// Objects merge, everything else replaces.
pub fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                merge(value.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (value, change) => *value = change.clone(),
    }
}
