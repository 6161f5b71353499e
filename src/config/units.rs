//! Durations, sizes and shares as people write them. A number without its unit is refused: everybody guesses another one.

use std::time::Duration;

use crate::yaml::{Fault, Node};

/// Units from large to small, which is the order in which a compound has them.
const DURATIONS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A year: whoever writes more means something else, and sums of instants must not overflow.
const LONGEST: u64 = 365 * 24 * 3_600_000;

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `500ms`, `1m30s`, `0s`.
///
/// # Errors
/// It is no duration, or longer than a year.
pub fn duration(node: &Node) -> Result<Duration, Fault> {
    let wrong = || node.expected("a duration with its unit, such as `500ms`, `5s`, `1m30s` or `24h`");
    let millis = compound(node.text().map_err(|_| wrong())?).ok_or_else(wrong)?;
    if millis > LONGEST {
        return Err(node.fault("longer than a year (8760h): is this meant?"));
    }
    Ok(Duration::from_millis(millis))
}

/// A duration of some length.
///
/// # Errors
/// It is no duration, or none at all.
pub fn positive_duration(node: &Node) -> Result<Duration, Fault> {
    let got = duration(node)?;
    if got.is_zero() { Err(node.fault("must be longer than nothing")) } else { Ok(got) }
}

/// The shortest way to write a duration; less than a millisecond is cut off.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, millis) in DURATIONS {
        if rest >= millis {
            out.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// Reads `64KiB`, `16MiB`: from `min` to `max` bytes.
///
/// # Errors
/// It is no size, or lies outside.
pub fn size(node: &Node, min: u64, max: u64) -> Result<u64, Fault> {
    let text = node.text().unwrap_or_default();
    let Some(bytes) = bytes(text) else {
        let fault = node.expected("a size with its unit, such as `64KiB` or `16MiB`");
        let decimal = ["KB", "MB", "GB", "K", "M", "G", "kB", "k"]
            .iter()
            .find_map(|u| text.strip_suffix(u).map(|n| (n, u)));
        return Err(match decimal {
            Some((n, unit)) if n.parse::<u64>().is_ok() => {
                let letter = unit.get(..1).unwrap_or_default().to_uppercase();
                Fault { message: format!("{}: did you mean `{n}{letter}iB`?", fault.message), ..fault }
            }
            _ => fault,
        });
    };
    if !(min..=max).contains(&bytes) {
        return Err(node.fault(format!("must be from {} to {}", show_size(min), show_size(max))));
    }
    Ok(bytes)
}

/// The shortest exact way to write a size.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let fits = SIZES.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fits.map_or_else(|| "0B".into(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// `None` for what is no compound, or far too long.
/// Reads `30%`: a whole share.
///
/// # Errors
/// It is none, or more than all.
pub fn share(node: &Node) -> Result<u8, Fault> {
    let digits = node.text().ok().and_then(|t| t.strip_suffix('%'));
    let share = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
    share.filter(|s| *s <= 100).ok_or_else(|| node.expected("a share from `0%` to `100%`, such as `30%`"))
}

/// As it is written.
#[must_use]
pub fn show_share(percent: u8) -> String {
    format!("{percent}%")
}

fn compound(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut units = DURATIONS.iter();
    let mut sum = 0_u64;
    while !rest.is_empty() || sum == 0 && rest.len() == text.len() {
        let (number, after) = leading_number(rest)?;
        let name_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (name, next) = after.split_at_checked(name_end)?;
        // Each unit once, from large to small.
        let (_, millis) = units.find(|(n, _)| *n == name)?;
        sum = sum.checked_add(number.checked_mul(*millis)?)?;
        rest = next;
    }
    Some(sum)
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        crate::yaml::parse(text, 1000).complete().unwrap().pop().unwrap()
    }

    #[test]
    fn durations_are_read_and_written_alike() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("24h", 86_400_000),
            ("0s", 0),
            ("1h5ms", 3_600_005),
        ] {
            let read = duration(&node(text)).unwrap();
            assert_eq!(read, Duration::from_millis(millis));
            assert_eq!(show_duration(read), text);
        }
    }

    #[test]
    fn durations_need_units_in_order() {
        for text in [
            "5",
            "1.5s",
            "5 s",
            "s",
            "",
            "-5s",
            "5s5s",
            "5s1m",
            "1d",
            "99999999999999999999s",
            "[5s]",
            "5sec",
            "0",
        ] {
            assert!(duration(&node(&format!("- {text}")).list().unwrap()[0]).is_err(), "{text}");
        }
        assert!(duration(&node("9000h")).unwrap_err().message.contains("longer than a year"));
        assert!(positive_duration(&node("0s")).is_err());
    }

    #[test]
    fn shares_are_whole_and_have_their_sign() {
        for text in ["0%", "30%", "100%"] {
            assert_eq!(show_share(share(&node(text)).unwrap()), text);
        }
        for text in ["30", "0.3", "101%", "-1%", "+3%", "30 %", "'%'", "1.5%"] {
            assert!(share(&node(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [("64KiB", 64 << 10), ("16MiB", 16 << 20), ("1GiB", 1 << 30), ("1000B", 1000)] {
            assert_eq!(size(&node(text), 0, u64::MAX).unwrap(), bytes);
            assert_eq!(show_size(bytes), text);
        }
        let words = |t: &str| size(&node(t), 1024, 4096).unwrap_err().message;
        assert!(words("16MB").contains("did you mean `16MiB`?"), "{}", words("16MB"));
        assert!(words("5k").contains("did you mean `5KiB`?"));
        assert!(words("16").contains("with its unit"));
        assert!(words("1MiB").contains("must be from 1KiB to 4KiB"));
        assert_eq!(show_size(0), "0B");
    }
}
