//! From the bytes of an answer to instances. Pure.
//!
//! Eureka's servers of fifteen years answer in JSON and in XML, with one-element lists written as the element, numbers as
//! strings, ports in three forms and fields in two spellings. Both formats fill the same [`draft::Draft`], so that they
//! cannot come to mean different things.
//!
//! A fault is charged to the smallest thing that can be named: an instance that makes no sense is kept with its fault (the
//! server counts it in its hash code), its neighbours are as they were. What is no answer of Eureka's at all is refused whole.

mod draft;
mod json;
#[cfg(test)]
mod tests;
mod xml;

use super::instance::Applications;

/// The deepest nesting that is followed; Eureka's own answers have five levels.
const DEEPEST: usize = 32;

/// Why an answer is none of Eureka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no list of applications ({0}): is the address the base of an Eureka server, such as http://host:8761/eureka?"
)]
pub(super) struct NotEureka(String);

/// What `body` says. The first character tells JSON from XML: servers and proxies mislabel both.
///
/// # Errors
/// It is neither, it breaks off, or it is something else.
pub(super) fn decode(body: &[u8]) -> Result<Applications, NotEureka> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match body.first() {
        Some(b'<') => xml::decode(body),
        Some(_) => json::decode(body),
        None => Err(NotEureka("nothing was answered".into())),
    }
}
