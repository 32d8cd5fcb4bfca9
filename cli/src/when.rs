//! Durations and times as people type them.

use std::time::Duration;

/// Reads `500ms`, `10s`, `5m`, `24h`, `7d`, `2w`; a bare number means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "a time such as 10s, 5m, 24h or 7d".to_owned())?;
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err("a time such as 10s, 5m, 24h or 7d".to_owned()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

/// What [`since`] reads.
const SINCE_FORMS: &str =
    "a time such as 2h, today, yesterday, 18:00, 2026-11-21, or 2026-11-21T18:00:00Z";

/// Reads a time in the past, in the local time zone, as Unix milliseconds: `2h` or `-2h` (before
/// now), `today`, `yesterday`, `18:00` (the last time it was that late), `2026-11-21`,
/// `2026-11-21 18:00`, or an RFC 3339 time.
pub fn since(text: &str) -> Result<u64, String> {
    since_at(text, &jiff::Zoned::now())
}

fn since_at(text: &str, now: &jiff::Zoned) -> Result<u64, String> {
    let text = text.trim();
    let form = |_| SINCE_FORMS.to_owned();
    let ago = text.strip_prefix('-').unwrap_or(text);
    let at = match text.to_lowercase().as_str() {
        "now" => now.timestamp(),
        "today" => now.start_of_day().map_err(form)?.timestamp(),
        "yesterday" => {
            now.yesterday().and_then(|day| day.start_of_day()).map_err(form)?.timestamp()
        }
        _ if ago.starts_with(|c: char| c.is_ascii_digit())
            && ago.ends_with(|c: char| c.is_ascii_alphabetic())
            && !ago.contains(['T', 't', ':']) =>
        {
            let span = duration(ago).map_err(|_| SINCE_FORMS.to_owned())?;
            let ms = i64::try_from(span.as_millis()).map_err(|_| "that is too long".to_owned())?;
            let ms = now.timestamp().as_millisecond().saturating_sub(ms);
            return Ok(u64::try_from(ms).unwrap_or(0));
        }
        _ => {
            if let Ok(at) = text.parse::<jiff::Timestamp>() {
                at
            } else if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
                // A day alone is its first moment. Before times: as a time alone, `2026-11-21 18:00`
                // would lose its day.
                at.to_zoned(now.time_zone().clone()).map_err(form)?.timestamp()
            } else {
                last_at(text.parse::<jiff::civil::Time>().map_err(form)?, now).map_err(form)?
            }
        }
    };
    Ok(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

/// The last time that clocks showed this: today, or yesterday if it is not that late yet.
fn last_at(time: jiff::civil::Time, now: &jiff::Zoned) -> Result<jiff::Timestamp, jiff::Error> {
    let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone())?;
    if today.timestamp() <= now.timestamp() {
        return Ok(today.timestamp());
    }
    let before = now.date().yesterday()?.to_datetime(time);
    Ok(before.to_zoned(now.time_zone().clone())?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_times_parse() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "s", "1y", "-1s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1_000));
        assert!(since("-1h").unwrap() > 1_700_000_000_000);
        for bad in ["", "-", "soon", "25:00", "2026-13-01", "-yesterday", "1y", "99999999999999d"] {
            let error = since(bad).unwrap_err();
            assert!(error.contains("such as") || error.contains("too long"), "{bad}: {error}");
        }
    }

    #[test]
    fn since_takes_what_people_type_in_their_own_time_zone() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        let at = |text: &str| -> jiff::Zoned {
            text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap()
        };
        let now = at("2026-11-28T15:30:00");
        for (typed, meant) in [
            ("now", "2026-11-28T15:30:00"),
            ("2h", "2026-11-28T13:30:00"),
            ("-2h", "2026-11-28T13:30:00"),
            ("90s", "2026-11-28T15:28:30"),
            ("1w", "2026-11-21T15:30:00"),
            ("today", "2026-11-28T00:00:00"),
            ("Yesterday", "2026-11-27T00:00:00"),
            ("13:00", "2026-11-28T13:00:00"),
            ("18:00", "2026-11-27T18:00:00"),
            ("2026-11-21", "2026-11-21T00:00:00"),
            ("2026-11-21 18:00", "2026-11-21T18:00:00"),
            ("2026-11-21T16:00:00Z", "2026-11-21T18:00:00"),
        ] {
            let ms = u64::try_from(at(meant).timestamp().as_millisecond()).unwrap();
            assert_eq!(since_at(typed, &now), Ok(ms), "{typed}");
        }
    }
}
