//! What is known of whoever is at the other end: taken from the connection and from the head of the stream, never from
//! what a client says of itself later.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A name that a verified certificate carries. Never made of one that was not verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A URI, usually `spiffe://domain/ns/namespace/sa/account`.
    Uri(Arc<str>),
    /// A DNS name, as the certificate has it.
    Dns(Arc<str>),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(name) | Self::Dns(name) => f.write_str(name),
        }
    }
}

/// A bearer token, as it came. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes what stood behind `Bearer`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The token in the head of a request, `authorization: Bearer …`; none where there are several, since it would be
    /// unclear which was meant.
    #[must_use]
    pub fn of_headers(headers: &http::HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(http::header::AUTHORIZATION).iter();
        let (first, further) = (all.next()?, all.next());
        let (scheme, token) = first.to_str().ok()?.split_once(' ')?;
        let token = token.trim();
        let usable = further.is_none() && scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
        usable.then(|| Self::new(token))
    }

    /// The secret, for who compares it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Whoever opened a stream.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it dials from.
    pub address: SocketAddr,
    /// Names of its verified certificate, sorted; empty without one.
    pub identities: Arc<[Identity]>,
    /// The bearer token of this stream, if it sent one.
    pub token: Option<Token>,
}

impl Peer {
    /// Somebody of whom nothing but the address is known.
    #[must_use]
    pub fn anonymous(address: SocketAddr) -> Self {
        Self { address, identities: Arc::default(), token: None }
    }

    /// The same peer with the token that `headers`, the head of one of its streams, carry.
    #[must_use]
    pub fn with_headers(self, headers: &http::HeaderMap) -> Self {
        Self { token: Token::of_headers(headers), ..self }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::AUTHORIZATION;

    use super::*;

    fn token(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Token::of_headers(&headers).map(|t| t.secret().to_owned())
    }

    #[test]
    fn a_token_is_what_stands_behind_bearer_once() {
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bearer  abc "]).as_deref(), Some("abc"));
        for refused in
            [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["abc"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(token(refused), None, "{refused:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let peer = Peer { token: Some(Token::new("abc")), ..Peer::anonymous("10.0.0.1:1".parse().unwrap()) };
        assert!(!format!("{peer:?}").contains("abc"));
    }
}
