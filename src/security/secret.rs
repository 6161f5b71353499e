//! What must not be seen: compared and used, never shown. Not by `Debug`, not in an error, not in the API.

use std::fmt;
use std::path::PathBuf;

/// A text that is not shown, or the file in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The text itself.
    Text(SecretText),
    /// A file; whoever uses it reads it again when it changes. White space around the text is not part of it.
    File(PathBuf),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For whoever needs to show it to its owner, and for nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show() {
        let secret = Secret::Text(SecretText::new("hunter2"));
        assert_eq!(format!("{secret:?}"), "Text(***)");
        assert_ne!(secret, Secret::Text(SecretText::new("hunter3")));
    }
}
