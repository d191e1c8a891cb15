//! How tables, times and sizes are shown to people.

use std::time::Duration;

/// A time on the wire, in seconds.
pub(super) fn seconds(time: &Option<prost_types::Duration>) -> Option<f64> {
    time.as_ref().map(|time| time.seconds as f64 + f64::from(time.nanos) / 1e9)
}

/// The two largest units of a time, as `3h 05m`.
pub(super) fn age(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match whole {
        86_400.. => format!("{days}d {hours:02}h"),
        3_600.. => format!("{hours}h {minutes:02}m"),
        60.. => format!("{minutes}m {:02}s", whole % 60),
        _ => format!("{whole}s"),
    }
}

/// A short time, as `0.4s`.
pub(super) fn lapse(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}s") } else { age(seconds) }
}

/// A size in the unit that suits it, as `18.2 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

/// What is not known.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_short() {
        let ages = [0.0, 59.9, 60.0, 3_599.0, 3_600.0, 86_399.0, 90_000.0];
        let expected = ["0s", "59s", "1m 00s", "59m 59s", "1h 00m", "23h 59m", "1d 01h"];
        assert_eq!(ages.map(age), expected);
        assert_eq!([0.04, 9.94, 75.0].map(lapse), ["0.0s", "9.9s", "1m 15s"]);
        let sizes = [0, 1023, 18 << 20, (18 << 20) + (200 << 10), 3 << 30, u64::MAX];
        let expected = ["0.0 KiB", "1.0 KiB", "18.0 MiB", "18.2 MiB", "3.0 GiB", "16777216.0 TiB"];
        assert_eq!(sizes.map(size), expected);
    }
}
