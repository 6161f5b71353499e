//! Listeners in words: what `serve` begins with and what `check` says.

use std::time::{Duration, UNIX_EPOCH};

use crate::admin::rows::rfc3339;
use crate::app::Place;
use crate::config::Access;
use crate::security::access::{Collections, Condition, Rule};
use crate::security::tls::server::{Demand, Summary};

/// Whether there is anything to say: plaintext on loopback is what everybody expects.
pub(super) fn is_plain(place: &Place) -> bool {
    place.tls.is_none() && place.access == Access::Local
}

/// TLS and, in a few words, access.
pub(super) fn short(place: &Place) -> String {
    let who = match &place.access {
        Access::Rules(rules) if rules.len() == 1 => "1 rule of access".into(),
        Access::Rules(rules) => format!("{} rules of access", rules.len()),
        other => anybody(other).to_owned(),
    };
    format!("{}; {who}", tls(place.tls.as_ref()))
}

/// TLS and every rule, a line each.
pub(super) fn long(place: &Place) -> Vec<String> {
    let mut lines = vec![tls(place.tls.as_ref())];
    match &place.access {
        Access::Rules(rules) => {
            lines.extend(rules.iter().map(rule));
            lines.push("nobody else".into());
        }
        other => lines.push(anybody(other).into()),
    }
    lines
}

fn anybody(access: &Access) -> &'static str {
    match access {
        Access::Local => "whoever is on this machine",
        _ => "open to whoever reaches it",
    }
}

fn tls(summary: Option<&Summary>) -> String {
    let Some(Summary { names, expires, clients }) = summary else { return "plaintext".into() };
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { "a certificate without a name".into() } else { names.join(", ") };
    let clients = match clients {
        None => "no client certificates",
        Some(Demand::Optional) => "client certificates optional",
        Some(Demand::Required) => "client certificates required",
    };
    format!("TLS as {names} until {}, {clients}", day(*expires))
}

/// `2027-01-01`.
fn day(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let text = UNIX_EPOCH.checked_add(since).map(rfc3339).unwrap_or_default();
    text.split('T').next().unwrap_or_default().to_owned()
}

fn rule(rule: &Rule) -> String {
    match rule {
        Rule::AccessList(file) => format!("whom {} lets in: everything", file.display()),
        Rule::Grant { from, collections } => {
            let from: Vec<String> = from.iter().map(condition).collect();
            let what = match collections {
                Collections::All => "everything".into(),
                Collections::These(some) if some.is_empty() => "nothing".into(),
                Collections::These(some) => some.iter().map(|c| c.plural()).collect::<Vec<_>>().join(", "),
            };
            format!("{}: {what}", from.join(" and "))
        }
    }
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Cidr(net) => net.to_string(),
        Condition::Spiffe(pattern) => pattern.to_string(),
        Condition::Dns(pattern) => pattern.to_string(),
        Condition::TokenFile(file) => format!("a token of {}", file.display()),
        Condition::AnyPeer => "everybody".into(),
        Condition::AnyCertificate => "any verified certificate".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::collection::Collection;
    use crate::security::peer::Identity;

    #[test]
    fn a_listener_says_its_certificate_and_who_may_come() {
        let rules = vec![
            Rule::Grant {
                from: vec![Condition::Cidr("10.0.0.0/8".parse().unwrap()), Condition::AnyCertificate],
                collections: Collections::All,
            },
            Rule::Grant {
                from: vec![Condition::TokenFile("readers".into())],
                collections: Collections::These([Collection::ServiceEntry].into()),
            },
            Rule::AccessList("list.yaml".into()),
        ];
        let tls = Summary {
            names: [Identity::Dns("chandler.example".into())].into(),
            expires: 1_798_761_600,
            clients: Some(Demand::Required),
        };
        let place =
            Place { address: "0.0.0.0:9901".parse().unwrap(), tls: Some(tls), access: Access::Rules(rules) };
        let tls = "TLS as chandler.example until 2027-01-01, client certificates required";
        assert_eq!(short(&place), format!("{tls}; 3 rules of access"));
        let want = [
            tls,
            "10.0.0.0/8 and any verified certificate: everything",
            "a token of readers: serviceentries",
            "whom list.yaml lets in: everything",
            "nobody else",
        ];
        assert_eq!(long(&place), want);
        assert!(!is_plain(&place));
        let plain = Place { tls: None, access: Access::Local, ..place };
        assert!(is_plain(&plain));
        assert_eq!(long(&plain), ["plaintext", "whoever is on this machine"]);
    }
}
