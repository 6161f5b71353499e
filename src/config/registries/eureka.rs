//! `eureka`: one Eureka cluster, polled.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::{Connection, ServerAddress, address};
use super::{Kind, RegistryKind};
use crate::config::map::KindDefaults;
use crate::config::units::{duration, positive_duration, show_duration};
use crate::convert::self_service::Conventions;
use crate::model::service::Protocol;
use crate::yaml::fields::Fields;
use crate::yaml::{Fault, Node};

/// `eureka`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EurekaConfig {
    /// Servers of one and the same cluster, in order of preference; never empty. Taken as they are: `/eureka` at Spring's,
    /// `/eureka/v2` at Netflix's.
    pub servers: Vec<ServerAddress>,
    /// How they are spoken to.
    pub connection: Connection,
    /// Remote regions that are read as well.
    pub regions: Vec<String>,
    /// The region of zones that name none.
    pub region: Option<String>,
    /// By which names instances are published; never empty.
    pub names: Vec<EurekaName>,
    /// By what an instance is called.
    pub prefer: EurekaPrefer,
    /// What becomes of instances whose lease has run out and that the server keeps.
    pub expired_leases: EurekaLeases,
    /// In which format answers are asked for.
    pub format: EurekaFormat,
    /// How often it is asked what changed.
    pub interval: Duration,
    /// How often everything is read although deltas suffice.
    pub full_read_interval: Duration,
    /// How long a server that has just been started is not believed about what it lacks.
    pub settle: Duration,
}

/// What becomes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EurekaName {
    /// Applications.
    App,
    /// Names in `vipAddress`.
    Vip,
    /// Names in `secureVipAddress`.
    SecureVip,
}

/// By what an instance is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EurekaPrefer {
    /// `ipAddr`.
    Ip,
    /// `hostName`.
    Hostname,
}

/// What becomes of instances whose lease has run out and that the server keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EurekaLeases {
    /// They serve.
    Keep,
    /// They are left out.
    Drop,
}

/// In which format answers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EurekaFormat {
    /// JSON, and XML of servers that have no JSON.
    Json,
    /// XML.
    Xml,
}

const NAMES: [(&str, EurekaName); 3] =
    [("app", EurekaName::App), ("vip", EurekaName::Vip), ("secureVip", EurekaName::SecureVip)];
const PREFER: [(&str, EurekaPrefer); 2] = [("ip", EurekaPrefer::Ip), ("hostname", EurekaPrefer::Hostname)];
const LEASES: [(&str, EurekaLeases); 2] = [("keep", EurekaLeases::Keep), ("drop", EurekaLeases::Drop)];
const FORMATS: [(&str, EurekaFormat); 2] = [("json", EurekaFormat::Json), ("xml", EurekaFormat::Xml)];

/// A third of what Eureka's own clients wait; the server's cache is the same age for all of them.
const INTERVAL: Duration = Duration::from_secs(10);
/// What it bounds is rare: a change of metadata that was missed.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(300);
/// Clients come back with their next heartbeat, which Eureka's default sends every 30 s; half as much again for those
/// whose first one fails.
const SETTLE: Duration = Duration::from_secs(45);

/// Names have no case in Eureka and no DNS of their own; its clients speak HTTP.
pub(super) const KIND: Kind = Kind {
    key: "eureka",
    defaults: KindDefaults {
        hosts: &["{service}.eureka"],
        protocol: Protocol::Http,
        noise: &["@class", "management.*", "jmx.port", "gRPC_port", "gRPC.port", "timestamp", "pid"],
        // Both spellings of the Spring starter for gRPC; the adapter itself knows where an instance is.
        conventions: Conventions {
            protocol: &[],
            grpc_port: &["gRPC_port", "gRPC.port"],
            region: &[],
            zone: &[],
        },
        ..KindDefaults::PLAIN
    },
    decode,
};

fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<RegistryKind> {
    let servers = servers(&mut f);
    let connection = Connection::decode(&mut f, base);
    let names = names(&mut f);
    let config = EurekaConfig {
        servers: Vec::new(),
        connection,
        regions: f.list("regions", region).unwrap_or_default(),
        region: f.get("region", region),
        names: names.unwrap_or_else(|| vec![EurekaName::App]),
        prefer: f.or("prefer", EurekaPrefer::Ip, |n| n.choice(&PREFER)),
        expired_leases: f.or("expiredLeases", EurekaLeases::Keep, |n| n.choice(&LEASES)),
        format: f.or("format", EurekaFormat::Json, |n| n.choice(&FORMATS)),
        interval: f.or("interval", INTERVAL, positive_duration),
        full_read_interval: f.or("fullReadInterval", FULL_READ_INTERVAL, positive_duration),
        settle: f.or("settle", SETTLE, duration),
    };
    Some(RegistryKind::Eureka(EurekaConfig { servers: servers?, ..config }))
}

fn servers(f: &mut Fields<'_, '_>) -> Option<Vec<ServerAddress>> {
    let node = f.need("servers", Ok)?;
    let found = f.findings().each(node, address)?;
    if node.list().is_some_and(<[Node]>::is_empty) {
        let words =
            "no server: write the base address of at least one, such as `http://127.0.0.1:8761/eureka`";
        f.findings().push(node.fault(words));
        return None;
    }
    Some(found)
}

fn names(f: &mut Fields<'_, '_>) -> Option<Vec<EurekaName>> {
    let node = f.take("names")?;
    let mut found = f.findings().each(node, |n| n.choice(&NAMES))?;
    if node.list().is_some_and(<[Node]>::is_empty) {
        f.findings()
            .push(node.fault("no kind of name: nothing would be published; write for instance `[app]`"));
        return None;
    }
    // The order says nothing, and twice is once.
    let written = std::mem::take(&mut found);
    Some(NAMES.iter().map(|(_, name)| *name).filter(|name| written.contains(name)).collect())
}

/// It becomes a part of a locality, or of a query's comma list.
fn region(node: &Node) -> Result<String, Fault> {
    let text = node.text()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.chars().all(legal) {
        return Ok(text.to_owned());
    }
    Err(node.fault("a region's name consists of letters, digits, `-`, `_` and `.`, such as `us-east-1`"))
}

impl EurekaConfig {
    pub(super) fn shown(&self) -> Value {
        let mut section = Map::new();
        let mut put = |key: &str, value: Value| section.insert(key.into(), value);
        put("servers", json!(self.servers.iter().map(ToString::to_string).collect::<Vec<_>>()));
        put("regions", json!(self.regions));
        if let Some(region) = &self.region {
            put("region", json!(region));
        }
        let names: Vec<&str> = self.names.iter().map(|n| word(&NAMES, *n)).collect();
        put("names", json!(names));
        put("prefer", json!(word(&PREFER, self.prefer)));
        put("expiredLeases", json!(word(&LEASES, self.expired_leases)));
        put("format", json!(word(&FORMATS, self.format)));
        put("interval", json!(show_duration(self.interval)));
        put("fullReadInterval", json!(show_duration(self.full_read_interval)));
        put("settle", json!(show_duration(self.settle)));
        self.connection.show_into(&mut section);
        section.into()
    }
}

/// How a choice is written.
fn word<T: Copy + PartialEq>(choices: &[(&'static str, T)], choice: T) -> &'static str {
    choices.iter().find(|(_, c)| *c == choice).map_or("", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::fields::Findings;
    use crate::yaml::parse;

    fn read(text: &str) -> Result<EurekaConfig, Vec<String>> {
        let (parsed, findings) = (parse(text, 1 << 20), Findings::default());
        let f = Fields::of(&parsed.documents[0], &findings);
        let kind = decode(f, Path::new("/etc/chandler"));
        let faults: Vec<String> = findings.into_faults().iter().map(ToString::to_string).collect();
        match kind {
            Some(RegistryKind::Eureka(config)) if faults.is_empty() => Ok(config),
            _ => Err(faults),
        }
    }

    #[test]
    fn an_address_is_all_that_is_needed_and_everything_is_shown_as_it_is_written() {
        let config = read("servers: ['http://me:pw@127.0.0.1:8761/eureka']").unwrap();
        assert_eq!(
            config.shown().to_string(),
            r#"{"expiredLeases":"keep","format":"json","fullReadInterval":"5m","interval":"10s","limits":{"body":"64MiB","connect":"5s","read":"15s","whole":"2m"},"names":["app"],"prefer":"ip","regions":[],"servers":["http://127.0.0.1:8761/eureka"],"settle":"45s"}"#
        );
        let full = "{servers: [a:8761/eureka/v2, b:8761/eureka/v2], regions: [us-east-1, eu], region: us-west-2, \
            names: [vip, app, vip], prefer: hostname, expiredLeases: drop, format: xml, interval: 1s, \
            fullReadInterval: 1m, settle: 0s, username: me, password: pw, limits: {body: 128MiB}}";
        let config = read(full).unwrap();
        assert_eq!(config.names, [EurekaName::App, EurekaName::Vip]);
        let shown = config.shown().to_string();
        assert!(
            shown.contains(r#""servers":["http://a:8761/eureka/v2","http://b:8761/eureka/v2"]"#),
            "{shown}"
        );
        assert!(shown.contains(r#""prefer":"hostname""#) && !shown.contains("pw"), "{shown}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_all_at_once() {
        let faults =
            read("{servers: [], names: [], regions: ['a,b'], region: 'x/y', prefer: dns, interval: 0s}")
                .unwrap_err();
        for words in ["no server", "no kind of name", "a region's name", "longer than nothing"] {
            assert!(faults.iter().any(|f| f.contains(words)), "{words}: {faults:?}");
        }
        assert_eq!(faults.len(), 6, "{faults:?}");
        assert!(read("{}").unwrap_err()[0].contains("servers"));
        assert!(read("{servers: ['ftp://x']}").unwrap_err()[0].contains("no address of a server"));
        assert!(read("{servers: ['http://a'], names: [apps]}").unwrap_err()[0].contains("app"));
    }
}
