//! One request at one address: redirects, time-outs, and an answer that is read within limits.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{HttpFault, quoted};
use super::material::Material;
use super::settings::{Address, Limits};
use super::{Answer, Get};

/// More than any cluster needs to name its leader.
const REDIRECTS: usize = 5;
/// How much is read of an answer that only becomes an error's words.
const ERROR_BODY: u64 = 4096;

pub(super) struct Exchange<'a> {
    pub(super) address: &'a Address,
    pub(super) server: usize,
    pub(super) limits: &'a Limits,
    pub(super) material: &'a Material,
    pub(super) get: &'a Get,
}

impl Exchange<'_> {
    /// Asks, and follows where the server sends us.
    pub(super) async fn run(&self) -> Result<Answer, HttpFault> {
        let mut been = vec![self.address.join(&self.get.path, &self.get.query)];
        loop {
            let Some(url) = been.last() else { return Err(HttpFault::Request("no address".into())) };
            let response = self.send(url).await?;
            if response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED {
                let next = target(url, &response)?;
                if been.contains(&next) {
                    return Err(HttpFault::Redirect(format!("in circles, by way of {}", shown(&next))));
                }
                if been.len() > REDIRECTS {
                    return Err(HttpFault::Redirect(format!(
                        "more than {REDIRECTS} times, last to {}",
                        shown(&next)
                    )));
                }
                been.push(next);
                continue;
            }
            return self.answer(response).await;
        }
    }

    async fn send(&self, url: &Url) -> Result<Response, HttpFault> {
        let accept = self.get.accept.unwrap_or("application/json");
        let mut request =
            self.material.client(self.get.lane)?.get(url.clone()).header(header::ACCEPT, accept);
        for (name, value) in self.get.headers {
            request = request.header(*name, *value);
        }
        let auth = self.material.auth(self.address).filter(|_| url.origin() == self.address.url().origin());
        if let Some((name, value)) = auth {
            request = request.header(name, value);
        }
        let after = self.limits.connect + self.limits.read + self.get.patience;
        match timeout(after, request.send()).await {
            Ok(sent) => sent.map_err(|e| self.nameless(url, fault(&e, self.limits))),
            Err(_) => Err(HttpFault::Slow { what: "the beginning of the answer", after }),
        }
    }

    /// Some servers close the connection on who shows no certificate, and the reason gets lost on the way.
    fn nameless(&self, url: &Url, fault: HttpFault) -> HttpFault {
        match fault {
            HttpFault::Truncated(why) if url.scheme() == "https" && !self.material.has_identity() => {
                let hint = "perhaps it wants a client certificate, which is named in `tls.certFile` and `tls.keyFile`";
                HttpFault::Truncated(format!("{why}; {hint}"))
            }
            other => other,
        }
    }

    async fn answer(&self, response: Response) -> Result<Answer, HttpFault> {
        let (status, headers) = (response.status(), response.headers().clone());
        let multiplexed = response.version() == http::Version::HTTP_2;
        if !status.is_success() {
            let body = self.body(response, ERROR_BODY, Overflow::Cut).await.unwrap_or_default();
            let text = if is_page(&headers, &body) { String::new() } else { quoted(&body) };
            return Err(HttpFault::Status { status, text });
        }
        let body = self.body(response, self.limits.body, Overflow::Refuse).await?;
        if is_page(&headers, &body) {
            return Err(HttpFault::Html(quoted(&body)));
        }
        let address = format!("{}{}", self.address, self.get.path).into();
        Ok(Answer { status, headers, body, address, server: self.server, multiplexed })
    }

    async fn body(&self, mut response: Response, limit: u64, overflow: Overflow) -> Result<Bytes, HttpFault> {
        let announced = response.content_length().unwrap_or_default();
        if announced > limit && overflow == Overflow::Refuse {
            return Err(HttpFault::TooLarge(limit));
        }
        let deadline = Instant::now() + self.limits.whole;
        let mut body = BytesMut::with_capacity(usize::try_from(announced.min(limit)).unwrap_or_default());
        loop {
            let gap = (Instant::now() + self.limits.read).min(deadline);
            let slow = |_| HttpFault::Slow {
                what: "the answer",
                after: if gap == deadline { self.limits.whole } else { self.limits.read },
            };
            let piece = timeout_at(gap, response.chunk()).await.map_err(slow)?;
            let Some(piece) = piece.map_err(|e| HttpFault::Truncated(words(&e)))? else { break };
            body.extend_from_slice(&piece);
            if body.len() as u64 > limit {
                match overflow {
                    Overflow::Refuse => return Err(HttpFault::TooLarge(limit)),
                    Overflow::Cut => break,
                }
            }
        }
        Ok(body.freeze())
    }
}

/// What becomes of an answer beyond the limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Refuse,
    Cut,
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, HttpFault> {
    let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
    let next = location.and_then(|l| from.join(l).ok()).filter(|n| matches!(n.scheme(), "http" | "https"));
    let Some(mut next) = next else { return Err(HttpFault::Redirect("to nowhere".into())) };
    if from.scheme() == "https" && next.scheme() == "http" {
        return Err(HttpFault::Redirect(format!("from https to {}, where nothing is safe", shown(&next))));
    }
    next.set_fragment(None);
    Ok(next)
}

/// A URL as far as it can be shown.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// Whether this is for people's eyes.
fn is_page(headers: &http::HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let begins = body.trim_ascii_start();
    let begins = |with: &[u8]| begins.get(..with.len()).is_some_and(|b| b.eq_ignore_ascii_case(with));
    kind.starts_with("text/html") && !begins(b"{") && !begins(b"[")
        || begins(b"<!doctype html")
        || begins(b"<html")
}

/// Sorts what the transport complains of.
fn fault(error: &reqwest::Error, limits: &Limits) -> HttpFault {
    if let Some(tls) = tls_error(error) {
        return HttpFault::Tls(tls_words(tls));
    }
    // HTTP/2 keeps the words only.
    let why = words(error);
    if why.starts_with("received fatal alert: ") {
        return HttpFault::Tls(alert_words(&why));
    }
    if why == "received unexpected message from connection" {
        return HttpFault::Refused;
    }
    match () {
        () if error.is_timeout() => HttpFault::Slow { what: "connecting", after: limits.connect },
        () if error.is_connect() => HttpFault::Connect(why),
        () if error.is_builder() => HttpFault::Request(why),
        () => HttpFault::Truncated(why),
    }
}

/// What TLS complains of, however deeply it is wrapped: an I/O error hides what it holds from `source`.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let held = held.map(|held| -> &'a (dyn Error + 'static) { held });
    held.and_then(tls_error).or_else(|| error.source().and_then(tls_error))
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Cert, Error as Tls};
    let advice = match error {
        Tls::InvalidCertificate(Cert::UnknownIssuer) => "name the authority that signed it in `tls.caFile`",
        Tls::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. }) => {
            "write the address with a name that stands in the server's certificate"
        }
        Tls::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. }) => {
            "the server's certificate must be renewed"
        }
        Tls::InvalidMessage(_) => "this is probably not a TLS port: write the address with `http://`",
        Tls::AlertReceived(_) => return alert_words(&error.to_string()),
        _ => "check the address and the certificates on both sides",
    };
    format!("{error}: {advice}")
}

/// What the server says when it does not like us.
fn alert_words(alert: &str) -> String {
    let says = |names: &[&str]| names.iter().any(|n| alert.ends_with(n));
    let advice = if says(&["CertificateExpired"]) {
        "the certificate in `tls.certFile` must be renewed"
    } else if says(&["CertificateRequired", "BadCertificate", "UnknownCA", "CertificateUnknown"]) {
        "the server wants a certificate that it trusts: name it in `tls.certFile` and `tls.keyFile`"
    } else {
        "check the address and the certificates on both sides"
    };
    format!("{alert}: {advice}")
}

/// The innermost reason; the outer ones repeat the address with all that stands in it.
fn words(error: &reqwest::Error) -> String {
    let mut innermost: &dyn Error = error;
    let mut depth = 0;
    while let Some(source) = innermost.source() {
        innermost = source;
        depth += 1;
    }
    if depth == 0 { "no further reason".into() } else { innermost.to_string() }
}
