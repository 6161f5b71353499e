//! Asking the servers of one cluster, one at a time. Which one, and what follows from an answer, is `watch`'s to decide.
//!
//! Base addresses are taken as they are: `/eureka` at Spring's servers, `/eureka/v2` at Netflix's. Only `/apps` and
//! `/apps/delta` are ever added. The full form is asked for in so many words: the compact one lacks metadata and the hash
//! code, and what stands between may have another default.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use xxhash_rust::xxh3::xxh3_128;

use super::decode::decode;
use super::instance::Applications;
use crate::registry::http::{Answer, Client, Get, HttpError, HttpFault};

const JSON: &str = "application/json";
const XML: &str = "application/xml";

/// Larger answers are decoded where they hold up nobody.
const LARGE: usize = 256 << 10;

/// In which format answers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// JSON, and XML of servers that have no JSON.
    #[default]
    Json,
    /// XML.
    Xml,
}

/// What a server answers to the question what changed.
#[derive(Debug)]
pub(super) enum Delta {
    /// Word for word what it answered last.
    Same,
    /// This, whose digest tells it from the next.
    Changed(Applications, u128),
    /// It gives none.
    Disabled,
}

/// The servers of one cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    http: Client,
    regions: Arc<[String]>,
    xml: Arc<AtomicBool>,
}

impl Servers {
    /// `regions`: remote ones that are read as well.
    pub(super) fn new(http: Client, regions: &[String], format: Format) -> Self {
        Self { http, regions: regions.into(), xml: Arc::new(AtomicBool::new(format == Format::Xml)) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.http.settings().addresses.len()
    }

    /// Everything that `server` knows, and the time of its clock in milliseconds.
    pub(super) async fn full(&self, server: usize) -> Result<(Applications, Option<u64>), HttpError> {
        let answer = self.ask(server, "/apps").await?;
        let now = answer.header("date").and_then(milliseconds);
        Ok((read(answer).await?, now))
    }

    /// What changed lately at `server`; `last` is the digest of its last answer.
    pub(super) async fn delta(&self, server: usize, last: Option<u128>) -> Result<Delta, HttpError> {
        let answer = match self.ask(server, "/apps/delta").await {
            Ok(answer) => answer,
            Err(e) if matches!(e.status(), Some(StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)) => {
                return Ok(Delta::Disabled);
            }
            Err(e) => return Err(e),
        };
        let digest = xxh3_128(&answer.body);
        if last == Some(digest) {
            return Ok(Delta::Same);
        }
        Ok(Delta::Changed(read(answer).await?, digest))
    }

    async fn ask(&self, server: usize, path: &str) -> Result<Answer, HttpError> {
        let mut get = Get::new(path);
        if !self.regions.is_empty() {
            get = get.with("regions", self.regions.join(","));
        }
        let xml = self.xml.load(Ordering::Relaxed);
        get.accept = Some(if xml { XML } else { JSON });
        get.headers = &[("x-eureka-accept", "full")];
        let asked = self.http.get_from(server, &get).await;
        let no_json = |e: &HttpError| {
            matches!(e.status(), Some(StatusCode::NOT_ACCEPTABLE | StatusCode::UNSUPPORTED_MEDIA_TYPE))
        };
        if xml || !asked.as_ref().is_err_and(no_json) {
            return asked;
        }
        get.accept = Some(XML);
        let asked = self.http.get_from(server, &get).await?;
        self.xml.store(true, Ordering::Relaxed);
        Ok(asked)
    }
}

async fn read(answer: Answer) -> Result<Applications, HttpError> {
    if answer.body.len() < LARGE {
        return decode(&answer.body).map_err(|e| answer.unreadable(&e.to_string()));
    }
    let address = answer.address.to_string();
    let work = move || decode(&answer.body).map_err(|e| answer.unreadable(&e.to_string()));
    let done = tokio::task::spawn_blocking(work).await;
    let ended = |e| HttpFault::Request(format!("reading the answer ended unexpectedly: {e}"));
    done.unwrap_or_else(|e| Err(HttpError { address, fault: ended(e) }))
}

/// `Sat, 21 Nov 2026 12:44:12 GMT` in milliseconds since 1970; `None`: it is no such date.
fn milliseconds(date: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = date.split_whitespace().skip(1);
    let day: u64 = words.next()?.parse().ok()?;
    let month = MONTHS.find(words.next().filter(|m| m.len() == 3)?).filter(|at| at % 3 == 0)? as u64 / 3 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|y| (1970..10_000).contains(y))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Counted from a March, so that the day that some years have more stands at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_clock_is_read_from_its_answer() {
        for (date, want) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 12:00:00 GMT", Some(951_825_600_000)),
            ("Sat, 21 Nov 2026 12:44:12 GMT", Some(1_795_265_052_000)),
            ("Wed, 01 Mar 2023 00:00:00 GMT", Some(1_677_628_800_000)),
            ("Sat, 21 Xxx 2026 12:44:12 GMT", None),
            ("Sat, 21 anF 2026 12:44:12 GMT", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(milliseconds(date), want, "{date}");
        }
    }
}
