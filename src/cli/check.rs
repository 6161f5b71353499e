//! `chandler check`: is the configuration right and, if wanted, what do the registries behind it hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use prost::Message;

use crate::app::{self, Place};
use crate::cli::get::duration;
use crate::cli::output::{Failure, colours, complain, say};
use crate::cli::table::{Cell, Table, Tone};
use crate::cli::{ConfigArgs, place};
use crate::model::service::Protocol;
use crate::pipeline::report::{RegistryReport, ServiceReport};
use crate::proto::networking::ServiceEntry;
use crate::resource::collection::Collection;
use crate::resource::snapshot::Snapshot;

/// How many services or instances of those that are left out for one reason are named.
const NAMED: usize = 3;
/// How many words that do not count are shown.
const MOST_IGNORED: usize = 50;

/// Check a configuration, and with --connect the registries behind it.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Check a configuration, and with --connect the registries behind it.

Without --connect nothing is dialled: every fault of the file is shown with its line and column, the certificates that it \
names are read, and this says who may come where. With it every registry \
is logged in to and read once, and this says what each has, what would be refused and why, which hosts are claimed \
twice, what is left out on purpose, what owners of services say in vain, and how many listeners a sidecar would get.

Ends with exit code 2 if the configuration is wrong, with 1 if a registry could not be read or anything would be \
refused.",
    after_help = "\
Examples:
  # Before a commit
  chandler check --config chandler.yaml

  # Before a rollout
  chandler check --config chandler.yaml --connect"
)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Read every registry once and say what it holds
    #[arg(long)]
    connect: bool,
    /// How long to wait for the registries [default: 30s, and longer where one that has just started is not believed at once]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "connect")]
    timeout: Option<Duration>,
}

/// Loads, reads if wanted, and prints.
pub(crate) async fn run(args: &Check) -> Result<(), Failure> {
    let config = args.config.load()?;
    let places = app::entrances_of(&config)?;
    for doubt in config.doubts() {
        complain(&format!("Warning: {doubt}"));
    }
    if !args.connect {
        let listeners = listener_lines(&places);
        return say(&format!("{}: the configuration is right\n{listeners}", args.config.origin()));
    }
    let read = app::read_once(&config, args.timeout, tell_waiting).await.map_err(Failure::from)?;
    say(&print(&read.registries, &read.services, &read.snapshot, colours()))?;
    if is_well(&read.registries) { Ok(()) } else { Err(Failure::Shown) }
}

/// Says what is waited for.
pub(crate) fn tell_waiting(unread: &str) {
    complain(&format!("Waiting until these are read:\n{unread}"));
}

/// Which listener speaks what, and who may come; nothing where it goes without saying.
fn listener_lines(places: &[Place]) -> String {
    let mut out = String::new();
    for place in places.iter().filter(|place| !place::is_plain(place)) {
        out.push_str(&format!("\n{}\n", place.address));
        for line in place::long(place) {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

fn is_well(registries: &[RegistryReport]) -> bool {
    registries.iter().all(|r| r.complete && r.refused == 0)
}

/// What the registries have and what becomes of it.
pub(crate) fn print(
    registries: &[RegistryReport],
    services: &[ServiceReport],
    snapshot: &Snapshot,
    colours: bool,
) -> String {
    let mut out = registry_table(registries, colours);
    let sections = [
        refusals(services, colours),
        shared_hosts(services, colours),
        lost_hosts(services, colours),
        left_out(services, colours),
        in_vain(services, colours),
    ];
    for section in sections.into_iter().flatten() {
        out.push('\n');
        out.push_str(&section);
    }
    let listeners = listeners(snapshot);
    out.push_str(&format!(
        "\nOutbound listeners that a sidecar gets if it sees all of it: about {listeners}.\n"
    ));
    out
}

fn registry_table(registries: &[RegistryReport], colours: bool) -> String {
    let mut table = Table::new(&["REGISTRY", "READ", "SERVICES", "ENDPOINTS", "OBJECTS", "REFUSED"], colours);
    for r in registries {
        let unread = r.doubt.clone().unwrap_or_else(|| r.unread_scopes.join(","));
        table.push(vec![
            r.name.as_str().into(),
            match (r.complete, unread.is_empty()) {
                (true, _) => Cell::toned("yes", Tone::Good),
                (false, true) => Cell::toned("no", Tone::Bad),
                (false, false) => Cell::toned(format!("no: {unread}"), Tone::Bad),
            },
            r.services.to_string().into(),
            r.endpoints.to_string().into(),
            r.objects.to_string().into(),
            if r.refused == 0 { "0".into() } else { Cell::toned(r.refused.to_string(), Tone::Bad) },
        ]);
    }
    table.flush()
}

/// A table under `heads`; `None` if it has no rows.
fn section(heads: &[&str], rows: Vec<Vec<Cell>>, colours: bool) -> Option<String> {
    let mut table = Table::new(heads, colours);
    let any = !rows.is_empty();
    rows.into_iter().for_each(|row| table.push(row));
    any.then(|| table.flush())
}

/// What would be refused, and why.
fn refusals(services: &[ServiceReport], colours: bool) -> Option<String> {
    let mut rows = Vec::new();
    for s in services {
        let whole = s.refused.iter().map(|reason| ("*", reason));
        let hosts = s.hosts.iter().filter_map(|h| Some((h.host.as_str(), h.refused.as_ref()?)));
        for (host, reason) in whole.chain(hosts) {
            rows.push(vec![
                s.registry.as_str().into(),
                s.key.as_str().into(),
                host.into(),
                reason.as_str().into(),
            ]);
        }
    }
    section(&["REGISTRY", "REFUSED", "HOST", "REASON"], rows, colours)
}

/// Which registries share a host, how, and what each contributes.
fn shared_hosts(services: &[ServiceReport], colours: bool) -> Option<String> {
    let mut shares: Vec<_> = Vec::new();
    for s in services {
        for h in &s.hosts {
            if let (Some(mode), Some(endpoints)) = (&h.mode, h.contributes) {
                let why = h.left_out.as_deref().unwrap_or_default();
                shares.push((
                    &h.host,
                    [&s.registry, &s.key, &h.host, mode].map(|t| t.as_str()),
                    endpoints,
                    why,
                ));
            }
        }
    }
    // A host's registries stay in the order of the configuration.
    shares.sort_by_key(|(host, ..)| *host);
    let row = |(_, names, endpoints, why): (&String, [&str; 4], usize, &str)| {
        let mut row: Vec<Cell> = names.map(Cell::from).into();
        row.extend([endpoints.to_string().into(), why.into()]);
        row
    };
    let rows = shares.into_iter().map(row).collect();
    section(&["REGISTRY", "SHARES", "HOST", "MODE", "ENDPOINTS", "LEFT OUT"], rows, colours)
}

/// Which claims to a host lose, and to whom; `*` is an object that loses its own name.
fn lost_hosts(services: &[ServiceReport], colours: bool) -> Option<String> {
    let mut rows = Vec::new();
    for s in services {
        if let Some(winner) = &s.lost_to {
            rows.push([s.registry.as_str(), &s.key, "*", winner].map(Cell::from).into());
        }
        for h in &s.hosts {
            if let Some(winner) = &h.lost_to {
                let row = [&s.registry, &s.key, &h.host, winner];
                rows.push(row.map(|text| Cell::from(text.as_str())).into());
            }
        }
    }
    section(&["REGISTRY", "YIELDS", "HOST", "TO"], rows, colours)
}

/// What is left out on purpose, by reason: whole services, and instances of those that are taken.
fn left_out(services: &[ServiceReport], colours: bool) -> Option<String> {
    let mut reasons: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for s in services {
        if let Some(reason) = &s.left_out {
            reasons.entry((&s.registry, reason, "services")).or_default().push(s.name.clone());
            continue;
        }
        for instances in &s.instances_left_out {
            let names = instances.first.iter().map(|id| format!("{} of {}", id, s.name));
            let more = instances.count.saturating_sub(instances.first.len());
            let more = std::iter::repeat_n(format!("more of {}", s.name), more);
            reasons
                .entry((&s.registry, &instances.reason, "instances"))
                .or_default()
                .extend(names.chain(more));
        }
    }
    let row = |((registry, reason, what), names): ((&str, &str, &str), Vec<String>)| {
        let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > NAMED { ", …" } else { "" };
        let row = [
            registry.to_owned(),
            format!("{} {what}", names.len()),
            format!("{shown}{more}"),
            reason.to_owned(),
        ];
        row.map(Cell::from).into()
    };
    section(&["REGISTRY", "LEFT OUT", "WHICH", "REASON"], reasons.into_iter().map(row).collect(), colours)
}

/// What owners of services say and what does not count.
fn in_vain(services: &[ServiceReport], colours: bool) -> Option<String> {
    let all = || services.iter().flat_map(|s| s.ignored.iter().map(move |what| (s, what)));
    let row =
        |(s, what): (&ServiceReport, &String)| [&s.registry, &s.name, what].map(|t| t.as_str().into()).into();
    let mut rows: Vec<Vec<Cell>> = all().take(MOST_IGNORED).map(row).collect();
    let more = all().count().saturating_sub(MOST_IGNORED);
    if more > 0 {
        rows.push(["".into(), format!("and {more} more").into(), "".into()].into());
    }
    section(&["REGISTRY", "SERVICE", "SAYS IN VAIN"], rows, colours)
}

/// About how many listeners istiod makes of what is served, for a sidecar that imports it all: HTTP ports of one
/// number share a listener on every address; anything else has one for each address and port, or for each port
/// where a service has no address.
fn listeners(snapshot: &Snapshot) -> usize {
    let mut distinct = BTreeSet::new();
    let content = snapshot.get(Collection::ServiceEntry);
    for resource in content.iter().flat_map(|c| c.iter()) {
        // What cannot be read is not served by us either.
        let Ok(entry) = ServiceEntry::decode(resource.body.clone()) else { continue };
        for port in &entry.ports {
            let http = Protocol::parse(&port.protocol).is_some_and(Protocol::is_http);
            if http || entry.addresses.is_empty() {
                distinct.insert((String::new(), port.number));
            } else {
                distinct.extend(entry.addresses.iter().map(|a| (a.clone(), port.number)));
            }
        }
    }
    distinct.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::tests::snapshot;
    use crate::pipeline::report::{HostReport, LeftOutReport};

    fn registry(refused: usize) -> RegistryReport {
        RegistryReport {
            name: "onboard".into(),
            complete: true,
            services: 2,
            endpoints: 5,
            refused,
            ..RegistryReport::default()
        }
    }

    fn service(key: &str, refused: Option<&str>, host: HostReport) -> ServiceReport {
        ServiceReport {
            registry: "onboard".into(),
            key: key.into(),
            name: key.into(),
            kind: "Service".into(),
            endpoints: 1,
            refused: refused.map(Into::into),
            hosts: vec![host],
            ..ServiceReport::default()
        }
    }

    fn host(refused: Option<&str>, lost_to: Option<&str>) -> HostReport {
        HostReport {
            host: "web.example".into(),
            lost_to: lost_to.map(Into::into),
            refused: refused.map(Into::into),
            ..HostReport::default()
        }
    }

    #[test]
    fn refusals_and_lost_hosts_are_named_with_their_reasons() {
        let services = [
            service("a#1", Some("port 0"), host(None, None)),
            service("b#1", None, host(Some("label too long"), None)),
            service("c#1", None, host(None, Some("onboard/a#1"))),
        ];
        let text = print(&[registry(2)], &services, &Snapshot::default(), false);
        let want = "\
REGISTRY   READ   SERVICES   ENDPOINTS   OBJECTS   REFUSED
onboard    yes    2          5           0         2

REGISTRY   REFUSED   HOST          REASON
onboard    a#1       *             port 0
onboard    b#1       web.example   label too long

REGISTRY   YIELDS   HOST          TO
onboard    c#1      web.example   onboard/a#1

Outbound listeners that a sidecar gets if it sees all of it: about 0.
";
        assert_eq!(text, want);
        assert!(!is_well(&[registry(2)]) && is_well(&[registry(0)]));
    }

    #[test]
    fn what_is_left_out_or_said_in_vain_is_shown_and_is_no_fault() {
        let out = |name: &str| ServiceReport {
            left_out: Some("`select.exclude` matches it".into()),
            ..service(name, None, host(None, None))
        };
        let critical =
            LeftOutReport { reason: "critical".into(), count: 3, first: vec!["n/1".into(), "n/2".into()] };
        let web = ServiceReport {
            instances_left_out: vec![critical],
            ignored: vec!["chandler-weight: \"x\": write a number".into()],
            ..service("web", None, host(None, None))
        };
        let services = [out("a"), out("b"), out("c"), out("d"), web];
        let text = print(&[registry(0)], &services, &Snapshot::default(), false);
        let want = "\
REGISTRY   LEFT OUT      WHICH                                 REASON
onboard    4 services    a, b, c, …                            `select.exclude` matches it
onboard    3 instances   n/1 of web, n/2 of web, more of web   critical

REGISTRY   SERVICE   SAYS IN VAIN
onboard    web       chandler-weight: \"x\": write a number
";
        assert!(text.contains(want), "{text}");
    }

    #[test]
    fn http_ports_share_a_listener_and_others_do_not() {
        // Each has 80/HTTP and 9000/auto, on one address.
        assert_eq!(listeners(&snapshot(&["a"])), 2);
        assert_eq!(listeners(&snapshot(&["a", "b"])), 2);
    }
}
