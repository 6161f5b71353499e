//! Why a client did not get in: a closed list, for metrics, with words for the log.

use rustls::{AlertDescription, CertificateError, Error};

/// Why a connection ended before anything was said on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The client took too long.
    #[error("it took too long: the client is stuck, overloaded, or means no good")]
    Slow,
    /// Too many were under way, and this one was the slowest.
    #[error("too many others were waiting, and this one had waited longest")]
    Crowded,
    /// Something else than TLS.
    #[error("it speaks plaintext, and this port speaks TLS: give the client TLS settings, or another port")]
    Plaintext,
    /// TLS on a port without.
    #[error(
        "it speaks TLS, and this port speaks plaintext: write `tls` beside its address, or take TLS from the client"
    )]
    Tls,
    /// There must be a certificate, and there is none.
    #[error("it shows no certificate, and `clientCertificates` is required")]
    NoCertificate,
    /// Its certificate is too old, or too young.
    #[error("its certificate is not valid at this time: renew it, and compare the clocks")]
    Expired,
    /// An authority vouches for its certificate that is not ours.
    #[error("its certificate comes from an authority that is not in `clientCaFile`")]
    Untrusted,
    /// Something else is wrong with its certificate.
    #[error("its certificate is not accepted: {0}")]
    BadCertificate(String),
    /// The client does not accept us.
    #[error("the client refuses: {0}")]
    Refused(String),
    /// No version, suite or protocol that both know.
    #[error("there is nothing that both sides speak: {0}")]
    Incompatible(String),
    /// What came is no handshake.
    #[error("what it says makes no sense: {0}")]
    Malformed(String),
    /// The client went.
    #[error("the client closed the connection in the middle")]
    Gone,
    /// Our own files are not what they were at start.
    #[error("TLS cannot be set up here: {0}")]
    Ours(String),
}

impl HandshakeError {
    /// Of what rustls says.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(why) => Self::of_certificate(why),
            Error::AlertReceived(alert) => Self::Refused(alert_words(*alert)),
            Error::NoApplicationProtocol => {
                Self::Incompatible("the client's ALPN does not name what is spoken here".into())
            }
            Error::PeerIncompatible(why) => Self::Incompatible(format!("{why:?}")),
            other => Self::Malformed(other.to_string()),
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        use CertificateError as C;
        match why {
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
                Self::Expired
            }
            // Another authority of the same name.
            C::UnknownIssuer | C::BadSignature => Self::Untrusted,
            other => Self::BadCertificate(other.to_string()),
        }
    }

    /// All labels in metrics.
    pub(crate) const REASONS: [&'static str; 13] = [
        "timeout",
        "crowded",
        "plaintext",
        "tls_on_plaintext",
        "no_certificate",
        "expired",
        "untrusted",
        "bad_certificate",
        "refused_by_client",
        "incompatible",
        "malformed",
        "closed",
        "internal",
    ];

    /// The label in metrics: one of [`REASONS`](Self::REASONS).
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Slow => "timeout",
            Self::Crowded => "crowded",
            Self::Plaintext => "plaintext",
            Self::Tls => "tls_on_plaintext",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::Untrusted => "untrusted",
            Self::BadCertificate(_) => "bad_certificate",
            Self::Refused(_) => "refused_by_client",
            Self::Incompatible(_) => "incompatible",
            Self::Malformed(_) => "malformed",
            Self::Gone => "closed",
            Self::Ours(_) => "internal",
        }
    }
}

/// The alerts that a client sends for a reason that somebody can mend, in words.
fn alert_words(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let words = match alert {
        A::UnknownCA => "it does not know the authority of our certificate",
        A::BadCertificate | A::CertificateUnknown => "it does not accept our certificate (its name, perhaps)",
        A::CertificateExpired => "our certificate has expired",
        A::CertificateRequired => "it wants a certificate",
        A::ProtocolVersion => "no common version of TLS",
        other => return format!("alert {other:?}"),
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_its_reason_and_its_words() {
        let text = String::new;
        let all = [
            HandshakeError::Slow,
            HandshakeError::Crowded,
            HandshakeError::Plaintext,
            HandshakeError::Tls,
            HandshakeError::NoCertificate,
            HandshakeError::Expired,
            HandshakeError::Untrusted,
            HandshakeError::BadCertificate(text()),
            HandshakeError::Refused(text()),
            HandshakeError::Incompatible(text()),
            HandshakeError::Malformed(text()),
            HandshakeError::Gone,
            HandshakeError::Ours(text()),
        ];
        assert_eq!(all.each_ref().map(HandshakeError::reason), HandshakeError::REASONS);
    }

    #[test]
    fn what_rustls_says_is_told_apart() {
        use CertificateError as C;
        for (error, reason) in [
            (Error::NoCertificatesPresented, "no_certificate"),
            (Error::InvalidCertificate(C::Expired), "expired"),
            (Error::InvalidCertificate(C::NotValidYet), "expired"),
            (Error::InvalidCertificate(C::UnknownIssuer), "untrusted"),
            (Error::InvalidCertificate(C::InvalidPurpose), "bad_certificate"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "refused_by_client"),
            (Error::NoApplicationProtocol, "incompatible"),
            (Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon), "incompatible"),
            (Error::HandshakeNotComplete, "malformed"),
        ] {
            assert_eq!(HandshakeError::of(&error).reason(), reason, "{error}");
        }
    }
}
