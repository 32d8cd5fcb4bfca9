//! Durations and times as people type them.

use std::time::Duration;

/// Reads `500ms`, `10s`, `5m`, `24h`, `7d`; a bare number means seconds.
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
        _ => return Err("a time such as 10s, 5m, 24h or 7d".to_owned()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

/// Reads `-2h` (before now) or an RFC 3339 time, as Unix milliseconds.
pub fn since(text: &str) -> Result<u64, String> {
    let now = jiff::Timestamp::now().as_millisecond();
    let ms = match text.strip_prefix('-') {
        Some(ago) => {
            now - i64::try_from(duration(ago)?.as_millis()).map_err(|_| "that is too long")?
        }
        None => text
            .parse::<jiff::Timestamp>()
            .map_err(|_| "a time such as -2h or 2026-11-21T18:00:00Z".to_owned())?
            .as_millisecond(),
    };
    Ok(u64::try_from(ms).unwrap_or(0))
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
        assert!(since("yesterday").is_err() && since("-").is_err());
    }
}
