//! Substitution of `{{name}}` in the texts of a playbook.

use std::collections::BTreeMap;

/// Values of variables, by name.
pub type Variables = BTreeMap<String, String>;

pub(crate) fn contains_variable(text: &str) -> bool {
    text.contains("{{")
}

/// Replaces each `{{name}}` by its value.
///
/// **Errors**: the first name without a value, or a `{{` without `}}`.
pub(crate) fn substitute<'a>(
    text: &str,
    value_of: impl Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, opened)) = rest.split_once("{{") {
        let (name, after) = opened
            .split_once("}}")
            .ok_or_else(|| format!("`{{{{{opened}` has no closing `}}}}`"))?;
        let name = name.trim();
        let value = value_of(name).ok_or_else(|| format!("no value for the variable `{name}`"))?;
        output.push_str(before);
        output.push_str(value);
        rest = after;
    }
    output.push_str(rest);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_missing_ones_are_named() {
        let value_of = |name: &str| (name == "out").then_some("C:\\T");
        assert_eq!(
            substitute("{{out}}\\a {{ out }}", value_of).unwrap(),
            "C:\\T\\a C:\\T"
        );
        assert_eq!(substitute("{ }", value_of).unwrap(), "{ }");
        assert!(substitute("{{in}}", value_of).unwrap_err().contains("`in`"));
        assert!(
            substitute("{{out", value_of)
                .unwrap_err()
                .contains("closing")
        );
    }
}
