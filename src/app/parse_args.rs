//! What was typed → what is meant.

use jiff::Timestamp;

use evidence::{ActionId, Locator};
use index::read_time;

use crate::app::error::Failure;

pub fn parse_action(text: &str) -> Result<ActionId, Failure> {
    text.parse()
        .map_err(|e: evidence::MalformedId| Failure::usage(e.to_string()))
}

pub fn parse_reference(text: &str) -> Result<Locator, Failure> {
    text.parse().map_err(|e: evidence::MalformedRef| {
        Failure::usage(e.to_string()).hint(
            "copy the first column of `list` or `search`, in single quotes where it holds `!`",
        )
    })
}

/// A time as people type it, the same as `since:` and `until:` in a query take:
/// `2026-02-01`, `2026-02-01T08:00`, with or without zone (then UTC), or how
/// long ago: `90s`, `30m`, `2h`, `3d`, `1w`. A day given as an end counts whole.
pub fn parse_time(text: &str, now: Timestamp, is_end: bool) -> Result<Timestamp, Failure> {
    read_time(text, now, is_end).ok_or_else(|| {
        Failure::usage(format!("`{text}` is not a time"))
            .hint("write 2026-02-01, 2026-02-01T08:00Z, or how long ago: 30m, 2h, 3d")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_type_them() {
        let now: Timestamp = "2026-02-04T12:00:00Z".parse().unwrap();
        for (typed, meant) in [
            ("2h", "2026-02-04T10:00:00Z"),
            ("3d", "2026-02-01T12:00:00Z"),
            ("2026-02-01", "2026-02-01T00:00:00Z"),
            ("2026-02-01T08:30", "2026-02-01T08:30:00Z"),
            ("2026-02-01T08:30:00+02:00", "2026-02-01T06:30:00Z"),
        ] {
            assert_eq!(
                parse_time(typed, now, false).unwrap().to_string(),
                meant,
                "{typed}"
            );
        }
        let end = parse_time("2026-02-01", now, true).unwrap();
        assert_eq!(end.to_string(), "2026-02-02T00:00:00Z");
        for typed in ["", "h", "soon", "2x", "99999999999999999h"] {
            assert!(parse_time(typed, now, false).is_err(), "{typed}");
        }
    }
}
