//! Times as they are typed.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time as typed: absolute (UTC where it names no zone) or counting back
/// from `now`. A day given as an end is meant to its own end.
pub fn read_time(text: &str, now: Timestamp, is_end: bool) -> Option<Timestamp> {
    let span = read_span(text, now)?;
    Some(if is_end && span.is_day {
        span.end
    } else {
        span.begin
    })
}

/// What a typed time stands for: a day, an hour, a minute, a second, or a part
/// of one, as exact as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: Timestamp,
    /// The first instant behind it.
    pub(crate) end: Timestamp,
    is_day: bool,
    /// It counts back from now: a moment, not a span of time anyone means.
    pub(crate) is_ago: bool,
}

pub(crate) fn read_span(text: &str, now: Timestamp) -> Option<Span> {
    let text = text.trim();
    let span = |begin: Timestamp, len: SignedDuration| {
        Some(Span {
            begin,
            end: begin.checked_add(len).ok()?,
            is_day: false,
            is_ago: false,
        })
    };
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return span(timestamp, exactness(text));
    }
    if let Some(ago) = read_ago(text) {
        let moment = span(now.checked_sub(ago).ok()?, SignedDuration::from_nanos(1))?;
        return Some(Span {
            is_ago: true,
            ..moment
        });
    }
    let utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp());
    if text.len() <= 10
        && let Ok(day) = text.parse::<Date>()
    {
        return Some(Span {
            begin: utc(day.at(0, 0, 0, 0))?,
            end: utc(day.tomorrow().ok()?.at(0, 0, 0, 0))?,
            is_day: true,
            is_ago: false,
        });
    }
    span(text.parse().ok().and_then(utc)?, exactness(text))
}

/// How long what the last digit of a time of day counts lasts.
fn exactness(text: &str) -> SignedDuration {
    let time = text
        .split_once(['T', 't', ' '])
        .map_or("", |(_, time)| time);
    let time = time.split(['Z', 'z', '+', '-', '[']).next().unwrap_or("");
    let (whole, fraction) = time.trim().split_once(['.', ',']).unwrap_or((time, ""));
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count() as u32;
    match (digits(whole), digits(fraction)) {
        (..=2, 0) => SignedDuration::from_hours(1),
        (..=4, 0) => SignedDuration::from_mins(1),
        (_, 0) => SignedDuration::from_secs(1),
        (_, places) => SignedDuration::from_nanos(10i64.pow(9u32.saturating_sub(places))),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lasts_as_long_as_its_last_digit_counts() {
        let now = "2026-02-10T12:00:00Z".parse().unwrap();
        for (text, begin, end) in [
            ("2026-02-04", "2026-02-04T00:00:00Z", "2026-02-05T00:00:00Z"),
            (
                "2026-02-04 15:30",
                "2026-02-04T15:30:00Z",
                "2026-02-04T15:31:00Z",
            ),
            (
                "2026-02-04T15:30:07",
                "2026-02-04T15:30:07Z",
                "2026-02-04T15:30:08Z",
            ),
            (
                "2026-02-04T15:30:07Z",
                "2026-02-04T15:30:07Z",
                "2026-02-04T15:30:08Z",
            ),
            (
                "2026-02-04T15:30+02:00",
                "2026-02-04T13:30:00Z",
                "2026-02-04T13:31:00Z",
            ),
            (
                "2026-02-04T15:30:07.25Z",
                "2026-02-04T15:30:07.25Z",
                "2026-02-04T15:30:07.26Z",
            ),
            (
                "2h",
                "2026-02-10T10:00:00Z",
                "2026-02-10T10:00:00.000000001Z",
            ),
        ] {
            let span = read_span(text, now).unwrap();
            let expected = (begin.parse().unwrap(), end.parse().unwrap());
            assert_eq!((span.begin, span.end), expected, "{text}");
            assert_eq!(span.is_ago, text == "2h");
        }
        assert_eq!(read_span("soon", now), None);
    }
}
