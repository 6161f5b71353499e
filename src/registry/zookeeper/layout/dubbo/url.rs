//! A URL as the name of a node: percent-encoded as a whole, by some writers twice, and its values by some once more.
//!
//! Users and passwords in it are dropped at once. The texts of faults repeat nothing of the URL.

use std::collections::BTreeMap;

/// Why a name is no URL. Fixed texts: they become reasons that are counted.
pub(crate) type Fault = &'static str;

/// A URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    /// What stands before `://`.
    pub(crate) scheme: String,
    /// Without brackets; may be empty.
    pub(crate) host: String,
    /// As written; absent: none is.
    pub(crate) port: Option<String>,
    /// Without the slash; may be empty.
    pub(crate) path: String,
    /// The last of several values of one key counts.
    pub(crate) params: BTreeMap<String, String>,
}

/// How often a name may be encoded as a whole.
const LAYERS: usize = 2;
/// What of a name is shown to people; a URL with many methods has kilobytes.
const SHOWN: usize = 200;

impl Url {
    /// Reads the name of a node.
    pub(crate) fn parse(name: &str) -> Result<Self, Fault> {
        let mut text = name.to_owned();
        for _ in 0..LAYERS {
            if text.contains("://") {
                break;
            }
            text = decode(&text).ok_or("its name is not percent-encoded text")?;
        }
        let (scheme, rest) = text.split_once("://").ok_or("its name is no URL")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = host_and_port(authority)?;
        if scheme.is_empty()
            || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return Err("its name is no URL");
        }
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.into(),
            port: port.map(Into::into),
            path: path.trim_matches('/').into(),
            params: query.split('&').filter_map(param).collect(),
        })
    }

    /// What people are shown of it: where it points, without parameters, users and passwords.
    pub(crate) fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = self.port.as_deref().map(|p| format!(":{p}")).unwrap_or_default();
        cut(&format!("{}://{host}{port}/{}", self.scheme, self.path))
    }

    /// The value of `key`, or of `default.key`, where one is there and not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let own = self.params.get(key).filter(|v| !v.is_empty());
        own.or_else(|| self.params.get(&format!("default.{key}")).filter(|v| !v.is_empty()))
            .map(String::as_str)
    }
}

fn param(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let plain = |text: &str| decode(text).unwrap_or_else(|| text.to_owned());
    (!key.is_empty()).then(|| (plain(key), plain(value)))
}

fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), Fault> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("its IPv6 address has no closing bracket")?;
        return Ok((host, port.strip_prefix(':')));
    }
    match authority.split_once(':') {
        // More colons: an IPv6 address without brackets, as old versions write it; the last part is the port.
        Some((_, rest)) if rest.contains(':') => {
            Ok(authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

/// `text` without its percent signs; `None` where what comes out is no text. A sign that encodes nothing stays.
pub(crate) fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value =
            pair.filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit())).map(|p| u8::from_str_radix(p, 16));
        match value {
            Some(Ok(value)) if byte == b'%' => {
                out.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// `text` as the name of a node, in the way of Java's encoder.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'*' | b'_') => {
                out.push(char::from(b))
            }
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// What people are shown of the node `name`: [`Url::shown`] where it is a URL.
pub(crate) fn shown(name: &str) -> String {
    Url::parse(name).map_or_else(|_| cut(name), |url| url.shown())
}

/// The first [`SHOWN`] characters.
pub(crate) fn cut(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_once_or_twice_and_its_values_once_more() {
        let plain = "dubbo://10.0.0.1:20880/a.B?group=g&version=1.0%2Bx&empty=&flag";
        let once =
            plain.replace('%', "%25").replace("://", "%3A%2F%2F").replace('/', "%2F").replace('?', "%3F");
        let twice = once.replace('%', "%25");
        for name in [plain, &*once, &*twice] {
            let url = Url::parse(name).unwrap();
            assert_eq!(
                (&*url.scheme, &*url.host, url.port.as_deref(), &*url.path),
                ("dubbo", "10.0.0.1", Some("20880"), "a.B")
            );
            assert_eq!(
                (url.get("group"), url.get("version"), url.get("empty")),
                (Some("g"), Some("1.0+x"), None)
            );
            assert!(url.params.contains_key("flag"));
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_or_ends_before_the_last_colon() {
        for (name, want) in [
            ("dubbo://[2001:db8::1]:20880/x", ("2001:db8::1", Some("20880"))),
            ("dubbo://2001:db8::1:20880/x", ("2001:db8::1", Some("20880"))),
            ("dubbo://[::1]/x", ("::1", None)),
            ("dubbo://host/x", ("host", None)),
        ] {
            let url = Url::parse(name).unwrap();
            assert_eq!((&*url.host, url.port.as_deref()), want, "{name}");
        }
        assert!(Url::parse("dubbo://[::1/x").is_err());
    }

    #[test]
    fn what_is_no_url_is_named_as_such() {
        for name in ["", "plain", "://x", "%FF%FE", "a b://x", "%"] {
            assert!(Url::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nobody_is_shown_users_passwords_or_parameters() {
        assert_eq!(shown("dubbo%3A%2F%2Fme%3Apw%40h%3A1%2Fa.B%3Ftoken%3Dx"), "dubbo://h:1/a.B");
        assert_eq!(shown("dubbo://[::1]:1/a"), "dubbo://[::1]:1/a");
        assert_eq!(shown(&"ü".repeat(500)).chars().count(), SHOWN);
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for text in ["demo.Outer$Inner", "ü", "a.B"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("demo.Outer$Inner"), "demo.Outer%24Inner");
    }

    #[test]
    fn a_default_stands_in_for_what_is_not_said() {
        let url = Url::parse("dubbo://h:1/a?default.group=g&default.version=1&version=2").unwrap();
        assert_eq!((url.get("group"), url.get("version")), (Some("g"), Some("2")));
    }
}
