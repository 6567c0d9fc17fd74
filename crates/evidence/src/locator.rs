//! References from a hit or finding back to the bytes it was found in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::serde_as_text;
use crate::{ResultId, ResultKey, Version};

/// Longest name in a reference. Windows paths usually have up to 260 characters,
/// and every reference to content inside a member repeats its label.
///
/// **Units**: bytes.
const LABEL_BYTES_MAX: usize = 1 << 10;

/// One container level of a [`Locator`], as a label: the name of a member, or
/// `#ordinal` if the name cannot be part of a reference.
///
/// A label is data. It is compared with other labels and never used as a path.
/// All references into a member share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Layer(Arc<str>);

impl From<String> for Layer {
    fn from(label: String) -> Self {
        Self(label.into())
    }
}

impl From<Layer> for String {
    fn from(layer: Layer) -> Self {
        layer.0.to_string()
    }
}

impl Layer {
    /// The `output` of a transcript.
    pub fn output() -> Self {
        Self("output".into())
    }

    /// The `errors` of a transcript.
    pub fn errors() -> Self {
        Self("errors".into())
    }

    /// Label of a member whose name is unique among its siblings. If the name is
    /// empty, longer than 1 KiB, contains `!` or control characters, or looks
    /// like an ordinal, the ordinal is the label.
    pub fn named(name: &str, ordinal: u32) -> Self {
        let is_usable = (1..=LABEL_BYTES_MAX).contains(&name.len())
            && !name.starts_with('#')
            && !name.chars().any(|c| c == '!' || is_unprintable(c));
        if is_usable {
            Self(name.into())
        } else {
            Self::numbered(ordinal)
        }
    }

    /// Label of a member without a unique name.
    pub fn numbered(ordinal: u32) -> Self {
        Self(format!("#{ordinal}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and characters that reorder or hide adjacent text.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Byte range of the decoded text.
///
/// **Units**: bytes of UTF-8, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    pub start: u64,
    pub len: u64,
}

/// Location of a hit or finding: a result, the containers from the outside in,
/// and a range of the text that the innermost member decodes to. Its printed
/// form is the REF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locator {
    pub id: ResultId,
    pub layers: Vec<Layer>,
    /// `None` for the whole text.
    pub range: Option<Range>,
}

impl Locator {
    pub fn of_result(id: ResultId) -> Self {
        Self {
            id,
            layers: Vec::new(),
            range: None,
        }
    }
}

/// The text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid reference `{0}`: expected ACTION_ID/INDEX[@VERSION][!MEMBER...]")]
pub struct MalformedRef(pub String);

impl fmt::Display for Locator {
    /// REF: `ACTION_ID/INDEX[@VERSION]`, then `!label` for each layer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id, f)?;
        self.layers
            .iter()
            .try_for_each(|layer| write!(f, "!{layer}"))
    }
}

impl FromStr for Locator {
    type Err = MalformedRef;

    fn from_str(text: &str) -> Result<Self, MalformedRef> {
        let malformed = || MalformedRef(text.chars().take(120).collect());
        let mut parts = text.split('!');
        let head = parts.next().unwrap_or("");
        let (key, version) = match head.split_once('@') {
            Some((key, version)) => (key, version.parse().map_err(|_| malformed())?),
            None => (head, 1),
        };
        if version == 0 {
            return Err(malformed());
        }
        let key: ResultKey = key.parse().map_err(|_| malformed())?;
        let layers: Vec<_> = parts.map(|label| Layer(label.into())).collect();
        if layers.iter().any(|layer| layer.0.is_empty()) {
            return Err(malformed());
        }
        Ok(Self {
            id: ResultId::new(key, Version(version)),
            layers,
            range: None,
        })
    }
}

serde_as_text!(Locator);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "5382f7ea-7557-4ab7-9782-d50480024a4e/3";

    #[test]
    fn reference_round_trips_with_version_and_layers() {
        for text in [
            KEY.to_string(),
            format!("{KEY}@2"),
            format!("{KEY}!evidence.zip!logs/a.log"),
            format!("{KEY}@7!#0!#12!output"),
        ] {
            assert_eq!(text.parse::<Locator>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn first_version_is_not_printed() {
        assert_eq!(
            format!("{KEY}@1").parse::<Locator>().unwrap().to_string(),
            KEY
        );
    }

    #[test]
    fn unusable_name_is_replaced_by_its_ordinal() {
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        let names = ["", "a!b", "#3", "a\nb", "\u{1b}[31mred", "\u{202e}gnp.exe"];
        for name in names.into_iter().chain([&*long]) {
            assert_eq!(Layer::named(name, 4).as_str(), "#4", "{name:?}");
        }
        for name in ["../../etc/passwd", &long[1..]] {
            assert_eq!(Layer::named(name, 4).as_str(), name);
        }
    }

    #[test]
    fn invalid_reference_is_rejected() {
        for text in [
            "",
            KEY.trim_end_matches("/3"),
            &format!("{KEY}@0"),
            &format!("{KEY}!!a"),
        ] {
            assert!(text.parse::<Locator>().is_err(), "{text}");
        }
    }
}
