//! What a scalar means: YAML 1.2's core schema, asked for one type at a time.

use super::words::shown;

/// Text as written, and whether it was quoted (then it is nothing but text).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    text: Box<str>,
    plain: bool,
}

impl Scalar {
    /// Nothing.
    pub(super) const NULL: &str = "";

    /// A scalar; `plain`: without quotes, not a block, not tagged as text.
    #[must_use]
    pub fn new(text: &str, plain: bool) -> Self {
        Self { text: text.into(), plain }
    }

    /// The text, after the escapes of a quoted one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it may mean something else than text.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether it is nothing, `null` or `~`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, Self::NULL | "~" | "null" | "Null" | "NULL")
    }

    /// A boolean of YAML 1.2: `yes`, `on` and `y` are text.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match &*self.text {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// A whole number: decimal, `0x…` or `0o…`. With a leading zero it is text: octal to YAML 1.1, decimal to 1.2.
    #[must_use]
    pub fn integer(&self) -> Option<i128> {
        if !self.plain {
            return None;
        }
        if let Some(hex) = self.text.strip_prefix("0x") {
            return unsigned(hex, 16);
        }
        if let Some(octal) = self.text.strip_prefix("0o") {
            return unsigned(octal, 8);
        }
        let (sign, digits) = self.sign();
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        Some(sign * unsigned(digits, 10)?)
    }

    /// A number with a point or an exponent, or a whole one that is too long for [`Scalar::integer`]; always finite.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        let (_, digits) = self.sign();
        let shape =
            digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
        let octal = whole.len() > 1 && whole.starts_with('0');
        if !self.plain || !shape || octal || !digits.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.text.parse().ok().filter(|f: &f64| f.is_finite())
    }

    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let text = shown(&self.text);
        if self.is_null() {
            "nothing".into()
        } else if self.boolean().is_some() {
            format!("the boolean {text}")
        } else if self.integer().is_some() || self.float().is_some() {
            format!("the number {text}")
        } else {
            format!("the text \"{text}\"")
        }
    }

    fn sign(&self) -> (i128, &str) {
        match self.text.as_bytes().first() {
            Some(b'-') => (-1, self.text.get(1..).unwrap_or_default()),
            Some(b'+') => (1, self.text.get(1..).unwrap_or_default()),
            _ => (1, &self.text),
        }
    }
}

/// `from_str_radix` alone would take a second sign.
fn unsigned(digits: &str, radix: u32) -> Option<i128> {
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    // 30 decimal digits fit, and nobody means a longer one as a number.
    if !all || digits.len() > 30 {
        return None;
    }
    i128::from_str_radix(digits, radix).ok()
}
