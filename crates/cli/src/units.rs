//! Sizes and times as people write and read them.

use std::time::Duration;

const BINARY: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];

/// Reads `1TiB`, `64MiB`, or a plain number of bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is no size; write it like 64MiB, 1TiB or 4096");
    let (number, shift) = BINARY
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text} is more than 64 bits can count"))
}

/// Reads `300ms`, `1.5s` or `2min`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time; write it like 300ms, 1.5s or 2min");
    let units = [("ms", 1e-3), ("us", 1e-6), ("min", 60.0), ("s", 1.0)];
    let (number, seconds) = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
        .ok_or_else(wrong)?;
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// `64 MiB`, `1.5 GiB`, `100 B`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let unit = BINARY[..4]
        .iter()
        .rev()
        .find(|(_, shift)| bytes >> shift > 0);
    match unit {
        None => format!("{bytes} B"),
        Some((unit, shift)) if bytes.trailing_zeros() >= *shift => {
            format!("{} {unit}", bytes >> shift)
        }
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64),
    }
}

/// `7.3 ms`, `1.00 s`.
pub(crate) fn show_duration(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

/// `950`, `12.3 k`, `1.2 M`.
pub(crate) fn show_count(count: f64) -> String {
    match count {
        ..1e3 => format!("{count:.0}"),
        ..1e6 => format!("{:.1} k", count / 1e3),
        _ => format!("{:.1} M", count / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [
            ("1TiB", 1 << 40),
            ("64MiB", 64 << 20),
            ("100B", 100),
            ("7", 7),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "1TB", "99999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(show_bytes(3 << 29), "1.5 GiB");
        assert_eq!(parse_bytes(&show_bytes(64 << 20)), Ok(64 << 20));
    }

    #[test]
    fn times_are_read_and_shown() {
        for (text, ms) in [("300ms", 300), ("1.5s", 1500), ("2min", 120_000), ("0s", 0)] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in ["", "s", "5", "-1s", "1h", "infs", "NaNs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(show_duration(Duration::from_micros(7300)), "7.3 ms");
    }
}
