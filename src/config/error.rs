//! All that is wrong with a configuration, as it is shown to a person.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use super::secret;
use crate::yaml::excerpt::{Excerpt, Style};
use crate::yaml::{Fault, Position};

/// Every fault of one configuration; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    text: String,
    faults: Vec<Fault>,
}

impl ConfigErrors {
    /// `faults` of `text`, in its order. Of the text only what is no secret is kept.
    #[must_use]
    pub(super) fn new(file: &str, text: &str, faults: Vec<Fault>) -> Self {
        Self { file: file.into(), text: secret::hide(text), faults }
    }

    /// A fault of a file that has no text.
    #[must_use]
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self::new(file, "", vec![Fault::new(Position::NOWHERE, message)])
    }

    /// The file, as its reader calls it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The faults, in the order of the text.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// All faults with their lines, as [`Display`](fmt::Display) shows them, with colours if `style` says so.
    #[must_use]
    pub fn display(&self, style: Style) -> impl fmt::Display + '_ {
        Shown { errors: self, style }
    }
}

struct Shown<'a> {
    errors: &'a ConfigErrors,
    style: Style,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigErrors { file, text, faults } = self.errors;
        for (i, fault) in faults.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", Excerpt { file, text, fault, style: self.style })?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.display(Style::Plain).fmt(f)
    }
}

impl std::error::Error for ConfigErrors {}

/// Why a file cannot be read, and what to do.
pub(super) fn unreadable(path: &Path, e: &std::io::Error) -> String {
    if path.is_dir() {
        return "is a directory: name a file in it".into();
    }
    match e.kind() {
        ErrorKind::NotFound => {
            "no such file: check the path, or leave --config out to start with samples".into()
        }
        ErrorKind::PermissionDenied => {
            "may not be read: give the user that runs chandler the right to".into()
        }
        _ => format!("cannot be read: {e}"),
    }
}
