//! Why a connection that we opened came to nothing, in words.
//!
//! What lies at the bottom of an error is what somebody can mend; the layers above only say that something went wrong.
//! Libraries hand it up as text alone, so it is told by its text; what is not known here is said as it came.

use std::error::Error;

/// What lies at the bottom of `error`, in words where they are known.
#[must_use]
pub fn innermost(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    known(&text).map_or_else(|| spoken(&text).unwrap_or(&text).to_owned(), str::to_owned)
}

/// What rustls says of things that happen to people. They are spelled in its alerts and errors, and tests hold them.
fn known(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 9] = [
        ("fatal alert: CertificateRequired", "it wants a client certificate, and none is shown"),
        ("fatal alert: UnknownCA", "it does not know the authority of the client certificate"),
        ("fatal alert: CertificateExpired", "the client certificate has expired"),
        ("fatal alert: BadCertificate", "it does not accept the client certificate"),
        ("message of type InvalidContentType", "it does not speak TLS"),
        ("certificate: UnknownIssuer", "its certificate comes from an authority that is not believed here"),
        ("certificate: Expired", "its certificate has expired"),
        ("certificate expired: ", "its certificate has expired"),
        ("tls handshake eof", "it closed the connection in the middle of the TLS handshake"),
    ];
    WORDS.iter().find(|(said, _)| text.contains(said)).map(|(_, words)| *words)
}

/// What the other end said when it ended an HTTP/2 connection, as h2 shows it: `… (b"words")`.
fn spoken(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("(b\"")?;
    rest.strip_suffix("\")").filter(|words| !words.is_empty() && !words.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("something went wrong")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn what_lies_at_the_bottom_is_told() {
        let of = |text: &str| innermost(&Outer(std::io::Error::other(text)));
        assert_eq!(of("a cause"), "a cause");
        assert_eq!(
            of("received fatal alert: UnknownCA"),
            "it does not know the authority of the client certificate"
        );
        assert_eq!(of(r#"connection error received: not a result of an error (b"not here")"#), "not here");
        assert_eq!(of(r#"connection error received: x (b"")"#), r#"connection error received: x (b"")"#);
    }

    #[test]
    fn alerts_are_spelled_as_rustls_spells_them() {
        use rustls::AlertDescription as A;
        for alert in [A::CertificateRequired, A::UnknownCA, A::CertificateExpired, A::BadCertificate] {
            let text = rustls::Error::AlertReceived(alert).to_string();
            assert!(known(&text).is_some(), "{text}");
        }
        let time = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        let errors: [rustls::Error; 4] = [
            rustls::InvalidMessage::InvalidContentType.into(),
            rustls::CertificateError::UnknownIssuer.into(),
            rustls::CertificateError::Expired.into(),
            rustls::CertificateError::ExpiredContext { time, not_after: time }.into(),
        ];
        for error in errors {
            assert!(known(&error.to_string()).is_some(), "{error}");
        }
    }
}
