//! Bearer tokens: one a line; empty lines and lines that begin with `#` do not count.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

use crate::security::kept::Held;
use crate::security::peer::Token;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// Tokens that are known. Never shown.
pub(super) struct Tokens(Vec<Box<str>>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Held for Tokens {}

impl Tokens {
    /// Reads a file; none at all is an error, since that is what a file that is being written looks like.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let text =
            std::str::from_utf8(bytes).map_err(|_| "is no text: one token a line is expected".to_owned())?;
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself is a secret.
            if line.len() < SHORTEST {
                return Err(format!(
                    "line {number}: a token of fewer than {SHORTEST} characters can be guessed"
                ));
            }
            if line.contains(|c: char| !c.is_ascii_graphic()) {
                return Err(format!("line {number}: a token is one word of visible ASCII characters"));
            }
            tokens.push(line.into());
        }
        if tokens.is_empty() {
            return Err("holds no token: one a line is expected".into());
        }
        Ok(Self(tokens))
    }

    /// Whether `token` is among them. Takes as long for one as for another of its length.
    pub(super) fn contain(&self, token: &Token) -> bool {
        let sent = token.secret().as_bytes();
        let found = self.0.iter().fold(Choice::from(0), |found, known| found | known.as_bytes().ct_eq(sent));
        found.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_a_line_and_comments() {
        let tokens = Tokens::read(b"# of the CI\n\n  0123456789abcdef  \r\nfedcba9876543210\n").unwrap();
        for known in ["0123456789abcdef", "fedcba9876543210"] {
            assert!(tokens.contain(&Token::new(known)), "{known}");
        }
        for unknown in ["", "# of the CI", "0123456789abcde", "0123456789abcdefg", "0123456789abcdeF"] {
            assert!(!tokens.contain(&Token::new(unknown)), "{unknown}");
        }
        assert_eq!(format!("{tokens:?}"), "Tokens(2)");
    }

    #[test]
    fn a_file_that_cannot_be_meant_is_refused_and_not_shown() {
        for (bytes, words) in [
            (&b""[..], "holds no token"),
            (b"# only words\n", "holds no token"),
            (b"secret\n", "line 1: a token of fewer than 16"),
            (b"0123456789abcdef\nsecret of two words\n", "line 2: a token is one word"),
            (b"\xff\xfe", "is no text"),
        ] {
            let error = Tokens::read(bytes).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        }
    }
}
