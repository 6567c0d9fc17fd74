//! Times as they are typed.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time as typed: absolute (UTC where it names no zone) or counting back
/// from `now`. A day given as an end is meant to its own end.
pub fn read_time(text: &str, now: Timestamp, is_end: bool) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    if let Some(ago) = read_ago(text) {
        return now.checked_sub(ago).ok();
    }
    let utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp());
    let is_day = text.len() <= 10;
    if is_day && let Ok(day) = text.parse::<Date>() {
        let day = if is_end { day.tomorrow().ok()? } else { day };
        return utc(day.at(0, 0, 0, 0));
    }
    text.parse::<DateTime>().ok().and_then(utc)
}

fn read_ago(text: &str) -> Option<SignedDuration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: i64 = text[..digits].parse().ok()?;
    let seconds = match &text[digits..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    Some(SignedDuration::from_secs(count.checked_mul(seconds)?))
}
