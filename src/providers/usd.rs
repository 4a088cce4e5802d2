//! Money as text: decimal USD, kept as whole nano-USD so that no cent is lost to binary fractions.

/// Nano-USD in one USD.
const NANO: u64 = 1_000_000_000;
/// Digits behind the point that count.
const DIGITS: usize = 9;

/// Reads decimal USD such as `0.25`; `None` for what is none, is negative, or has more digits than count.
pub fn nano(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > DIGITS {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
    whole.checked_mul(NANO)?.checked_add(fraction)
}

/// Writes nano-USD as decimal USD, without zeros at the end.
pub fn text(nano: u64) -> String {
    let (whole, fraction) = (nano / NANO, nano % NANO);
    let fraction = format!("{fraction:0DIGITS$}");
    match fraction.trim_end_matches('0') {
        "" => whole.to_string(),
        digits => format!("{whole}.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn decimal_text_becomes_whole_nano_usd() {
        let table = [
            ("0.25", Some(250_000_000)),
            ("3", Some(3_000_000_000)),
            (".5", Some(500_000_000)),
            ("0.000000001", Some(1)),
            ("0", Some(0)),
            ("0.0000000001", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(nano(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(amount: u64) {
            prop_assert_eq!(nano(&text(amount)), Some(amount));
        }
    }
}
