//! What was typed → what is meant.

use jiff::{Timestamp, ToSpan, civil};

use crate::evidence::{ActionId, Locator};

use super::failure::Failure;

pub fn parse_action(text: &str) -> Result<ActionId, Failure> {
    text.parse()
        .map_err(|e: crate::evidence::MalformedId| Failure::asked(e.to_string()))
}

pub fn parse_reference(text: &str) -> Result<Locator, Failure> {
    text.parse().map_err(|e: crate::evidence::MalformedRef| {
        Failure::asked(e.to_string()).hint(
            "copy the first column of `list` or `search`, in single quotes where it holds `!`",
        )
    })
}

/// A time as people type it: `2026-02-01`, `2026-02-01T08:00`, with or without
/// zone (then UTC), or how long ago: `90s`, `30m`, `2h`, `3d`, `1w`.
pub fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let text = text.trim();
    ago(text, now)
        .or_else(|| text.parse().ok())
        .or_else(|| {
            let civil: civil::DateTime = text.parse().ok()?;
            Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        })
        .ok_or_else(|| {
            Failure::asked(format!("`{text}` is not a time"))
                .hint("write 2026-02-01, 2026-02-01T08:00Z, or how long ago: 30m, 2h, 3d")
        })
}

fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let span = count.checked_mul(seconds)?;
    now.checked_sub(span.abs().seconds()).ok()
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
                parse_time(typed, now).unwrap().to_string(),
                meant,
                "{typed}"
            );
        }
        for typed in ["", "h", "soon", "2x", "99999999999999999h"] {
            assert!(parse_time(typed, now).is_err(), "{typed}");
        }
    }
}
