//! `{{name}}` in a playbook, filled in for each device.

use std::collections::BTreeMap;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

pub(crate) fn has_any(text: &str) -> bool {
    text.contains("{{")
}

/// Fills in every name.
///
/// **Errors**: the first name nobody gave a value, or the rest of a text whose
/// braces do not close.
pub(crate) fn fill<'a>(
    text: &str,
    value: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind
            .split_once("}}")
            .ok_or_else(|| format!("`{{{{{behind}` has no closing `}}}}`"))?;
        let name = name.trim();
        let value = value(name).ok_or_else(|| format!("no value for the variable `{name}`"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_what_is_missing_is_named() {
        let value = |name: &str| (name == "out").then_some("C:\\T");
        assert_eq!(
            fill("{{out}}\\a {{ out }}", value).unwrap(),
            "C:\\T\\a C:\\T"
        );
        assert_eq!(fill("{ }", value).unwrap(), "{ }");
        assert!(fill("{{in}}", value).unwrap_err().contains("`in`"));
        assert!(fill("{{out", value).unwrap_err().contains("closing"));
    }
}
