//! YAML (and so JSON) that people write, as trees whose every node knows where it stands.
//!
//! For the configuration and for resource files, so that every objection can name line and column. A leaf: no I/O, no clock.
//!
//! - [`parse`] makes a tree of each document of a text. Scalars stay as they are written: `1.10`, `017` and `n: y` are
//!   text until somebody asks for a number or a boolean, and YAML 1.2 alone decides what is one (`yes` is text).
//! - [`Fields`](fields::Fields) reads a map strictly: it collects all faults instead of stopping at the first.
//! - `&Node` is a `serde::Deserializer`, for what has a schema elsewhere; its errors carry positions.
//! - [`Excerpt`](excerpt::Excerpt) shows a fault with its line.
//!
//! Refused: duplicate keys, keys that are no scalars, nesting deeper than [`DEPTH`], tags beyond YAML's own, aliases that
//! would expand to more than the text may be long. Nothing in a text can panic or exhaust the process.
//!
//! The tokens come from the event parser that serde-saphyr brings along. serde itself stops at the first error and knows
//! no positions afterwards, which is why its typed interface is not used. No other module names that crate.

mod de;
pub mod excerpt;
pub mod fields;
mod parse;
mod scalar;
mod syntax;
pub mod words;

use std::fmt;

pub use parse::{DEPTH, Parsed, parse};
pub use scalar::Scalar;

/// Where something stands in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Counted from 1; 0: nowhere ([`Position::NOWHERE`]).
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// How many characters of the line belong to it; at least 1.
    pub width: u32,
}

impl Position {
    /// Of what concerns a text as a whole.
    pub const NOWHERE: Self = Self { line: 0, column: 0, width: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where; [`Position::NOWHERE`] if it concerns the whole.
    pub at: Position,
    /// What, and what to do about it; one line, for a person.
    pub message: String,
}

impl Fault {
    /// A fault of what stands at `at`. What a message quotes cannot break its line or disturb a terminal.
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        Self { at, message: words::printable(message.into()) }
    }
}

/// `line:column: message`, so that a file's name and a colon make it complete.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at == Position::NOWHERE {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl std::error::Error for Fault {}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins; what an alias stands for keeps the place where it was written.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, a number, a boolean or nothing: as written.
    Scalar(Scalar),
    /// `- …` or `[…]`.
    List(Vec<Node>),
    /// `key: …` or `{…}`.
    Map(Map),
}

/// Keys and values in the order in which they stand, each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Map {
    entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key's text, whether it was quoted or not.
    pub key: Box<str>,
    /// Where the key stands.
    pub at: Position,
    /// Its value.
    pub value: Node,
}

impl Map {
    /// The entry of `key`. Linear: maps that people write are short.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| &*e.key == key)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// All entries as they stand.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Node {
    /// Whether nothing is written here, or `null`, or `~`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(s) if s.is_null())
    }

    /// The scalar, if it is one; null is one.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(s) => Some(s),
            _ => None,
        }
    }

    /// The map, if it is one.
    #[must_use]
    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(l) => Some(l),
            _ => None,
        }
    }

    /// A fault of this value.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at, message)
    }

    /// What it is, for messages: "a list", "the number 5" …
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
            Value::Scalar(s) => s.describe(),
        }
    }

    /// Text as written; numbers and booleans too, for `version: 1.10` means what it says.
    ///
    /// # Errors
    /// Nothing is written, or it is a list or a map.
    pub fn text(&self) -> Result<&str, Fault> {
        match self.scalar() {
            Some(s) if !s.is_null() => Ok(s.as_str()),
            _ => Err(self.expected("text")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// It is anything else, `yes` and `"true"` included.
    pub fn boolean(&self) -> Result<bool, Fault> {
        self.scalar().and_then(Scalar::boolean).ok_or_else(|| self.expected("true or false"))
    }

    /// A whole number from `min` to `max`; for ports, counts.
    ///
    /// # Errors
    /// It is no number, has a leading zero (octal to some, decimal to others), or lies outside.
    pub fn integer<T>(&self, min: T, max: T) -> Result<T, Fault>
    where
        T: TryFrom<i128> + PartialOrd + fmt::Display + Copy,
    {
        let wanted = || self.expected(&format!("a whole number from {min} to {max}"));
        let number = self.scalar().and_then(Scalar::integer).ok_or_else(wanted)?;
        T::try_from(number).ok().filter(|n| (min..=max).contains(n)).ok_or_else(wanted)
    }

    /// The elements of a list; a list of one may not be written without its brackets.
    ///
    /// # Errors
    /// It is no list.
    pub fn elements(&self) -> Result<&[Self], Fault> {
        self.list().ok_or_else(|| self.expected("a list"))
    }

    /// The entries of a map, for maps whose keys are data.
    ///
    /// # Errors
    /// It is no map.
    pub fn pairs(&self) -> Result<&[Entry], Fault> {
        self.map().map(Map::entries).ok_or_else(|| self.expected("a map (`key: value`)"))
    }

    /// The fault of something else standing here.
    #[must_use]
    pub fn expected(&self, what: &str) -> Fault {
        self.fault(format!("expected {what}, found {}", self.describe()))
    }
}

/// The text of a file's bytes.
///
/// # Errors
/// They are not UTF-8; the fault says where.
pub fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|e| {
        let good = bytes.get(..e.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        let at = Position { line: narrow(line), column: narrow(column), width: 1 };
        Fault::new(at, "not UTF-8: save the file as UTF-8 text")
    })
}

/// Lines and columns of a text of any length; saturates.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
