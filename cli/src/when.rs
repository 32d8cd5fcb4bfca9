//! Durations and times as people type them.

use std::time::Duration;

/// What [`duration`] reads.
const DURATION_FORMS: &str = "a time such as 10s, 5m, 1h30m or 7d";

/// Reads `500ms`, `10s`, `5m`, `1h30m`, `7d`, `2w`; a number alone means seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let too_long = || "that is too long".to_owned();
    let (mut ms, mut rest) = (0_u64, text);
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        if number.is_empty() {
            return Err(DURATION_FORMS.to_owned());
        }
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            "" if number.len() == text.len() => 1_000,
            _ => return Err(DURATION_FORMS.to_owned()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        ms = part.and_then(|part| ms.checked_add(part)).ok_or_else(too_long)?;
        if behind.is_empty() {
            return Ok(Duration::from_millis(ms));
        }
        rest = behind;
    }
}

/// What [`since`] reads.
const SINCE_FORMS: &str =
    "a time such as 2h, 1h30m, today, yesterday, 18:00, 2026-11-21, or 2026-11-21T18:00:00Z";

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
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("1d2h3m4s5ms"), Ok(Duration::from_millis(93_784_005)));
        for bad in [
            "",
            "s",
            "1h30",
            "1h 30m",
            "1h-30m",
            "h1m",
            "18446744073709551615ms1ms",
            "1y",
            "-1s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
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
            ("1h30m", "2026-11-28T14:00:00"),
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
