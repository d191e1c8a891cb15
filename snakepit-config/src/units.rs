//! Durations and sizes as text: `300s`, `1h30m`, `512MiB`. Owns the units and their canonical
//! form; parsing what was formatted gives the same value.

use std::time::Duration;

/// A text that is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnitError {
    message: String,
}

/// Nanoseconds in each unit, largest first: the order in which a value is split up.
const TIME_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Bytes in each unit, largest first. Decimal and binary prefixes mean what their standards say.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads a duration: whole numbers with units from days to nanoseconds, as `300s` or `1h30m`.
///
/// # Errors
/// When the text has another form or the time is beyond what a [`Duration`] holds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let malformed = || UnitError {
        message: format!(
            "`{text}` is no duration: write whole numbers with units, as \"300s\", \"1h30m\" or \"500ms\""
        ),
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(malformed)?;
        let (_, nanos) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?;
        total = u128::from(number)
            .checked_mul(*nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(malformed)?;
        rest = after;
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| malformed())?;
    // The remainder is below a thousand million.
    Ok(Duration::new(seconds, (total % 1_000_000_000) as u32))
}

/// The shortest text that [`parse_duration`] reads as the same duration.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    // One unit where one is enough and the number stays readable (`300s`, `90m`), else a sum.
    let whole = TIME_UNITS
        .iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit))
        .map(|(name, unit)| (name, nanos / unit));
    if let Some((name, count)) = whole
        && count < 10_000
    {
        return format!("{count}{name}");
    }
    let mut rest = nanos;
    let mut out = String::new();
    for (name, unit) in TIME_UNITS {
        if rest >= unit {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    out
}

/// Reads a duration, or `none` for no limit.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_limit(text: &str) -> Result<Option<Duration>, UnitError> {
    if text.trim() == "none" { Ok(None) } else { parse_duration(text).map(Some) }
}

/// The text that [`parse_limit`] reads as the same limit.
pub fn format_limit(limit: Option<Duration>) -> String {
    limit.map_or_else(|| "none".to_owned(), format_duration)
}

/// Reads a size in bytes: a whole number with a unit from `B` to `TiB`, as `512MiB`.
///
/// # Errors
/// When the text has another form or the size is beyond 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let malformed = || UnitError {
        message: format!(
            "`{text}` is no size: write a whole number with a unit, as \"1GiB\", \"512MiB\" or \"64KB\""
        ),
    };
    let (number, unit, rest) = number_and_unit(text.trim()).ok_or_else(malformed)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(malformed)?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    number.checked_mul(*bytes).ok_or_else(malformed)
}

/// The shortest text that [`parse_size`] reads as the same size.
pub fn format_size(bytes: u64) -> String {
    SIZE_UNITS
        .iter()
        .filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit))
        .map(|(name, unit)| format!("{}{name}", bytes / unit))
        .min_by_key(String::len)
        .unwrap_or_else(|| format!("{bytes}B"))
}

fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..digits].parse().ok()?;
    let text = text[digits..].trim_start_matches(' ');
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    Some((number, &text[..end], text[end..].trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("300s", 300_000),
            ("1h", 3_600_000),
            ("500ms", 500),
            ("1h 30m", 5_400_000),
            ("0s", 0),
            ("2 s", 2000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in
            ["", "5", "s", "5x", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn canonical_forms_are_readable() {
        let ms = Duration::from_millis;
        for (millis, text) in [
            (300_000, "5m"),
            (3_600_000, "1h"),
            (500, "500ms"),
            (5_400_000, "90m"),
            (61_001, "1m1s1ms"),
        ] {
            assert_eq!(format_duration(ms(millis)), text);
        }
        for (bytes, text) in [(1 << 30, "1GiB"), (1000, "1KB"), (1023, "1023B"), (0, "0B")] {
            assert_eq!(format_size(bytes), text);
        }
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(parse_size("512MiB").unwrap(), 512 << 20);
        assert_eq!(parse_size("64 KB").unwrap(), 64_000);
        for text in ["", "12", "MiB", "1.5GiB", "1GiB1MiB", "99999999TiB", "1mib"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_duration_survives_its_text(seconds: u64, nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(seconds, nanos);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }

        #[test]
        fn any_size_survives_its_text(bytes: u64) {
            proptest::prop_assert_eq!(parse_size(&format_size(bytes)).unwrap(), bytes);
        }
    }
}
