//! What one revision of an application provides: Dubbo 3's `MetadataInfo`, whoever told it.
//!
//! Its parts come as drafts, so that the report's JSON and the answers of providers are read alike. A part without an
//! interface or a protocol is dropped; Dubbo's own service for metadata is none that anyone calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::provider::{shared, version};
use super::url::Fault;
use crate::model::labels::Labels;

/// Dubbo's own service, which 2.7 lists too.
pub(crate) const METADATA_SERVICE: &str = "org.apache.dubbo.metadata.MetadataService";

/// All that a revision provides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata {
    /// By interface, group, version and protocol, in this order; each once.
    offered: Vec<Offered>,
}

/// One interface in a group and a version, over one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offered {
    /// The interface.
    pub(crate) interface: Arc<str>,
    /// Absent: none.
    pub(crate) group: Option<Arc<str>>,
    /// Absent: none.
    pub(crate) version: Option<Arc<str>>,
    /// Dubbo's word for it: `dubbo`, `tri`.
    pub(crate) protocol: Arc<str>,
    /// Its port where it was exported; never 0. Absent: 2.7 does not say.
    pub(crate) port: Option<u16>,
    /// What is said of it.
    pub(crate) params: Labels,
}

/// A part of a `MetadataInfo` as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The interface.
    pub(crate) name: String,
    /// Empty: none.
    pub(crate) group: String,
    /// Empty: none.
    pub(crate) version: String,
    /// The protocol.
    pub(crate) protocol: String,
    /// Its port; what is none is dropped.
    pub(crate) port: i64,
    /// What is said of it.
    pub(crate) params: BTreeMap<String, String>,
}

impl Metadata {
    /// What the report holds.
    pub(crate) fn from_json(data: &[u8]) -> Result<Self, Fault> {
        let value: Value = serde_json::from_slice(data).map_err(|_| "it is no JSON")?;
        let services = value.get("services").and_then(Value::as_object).ok_or("it names no services")?;
        Ok(Self::from_drafts(services.values().map(draft)))
    }

    /// What these parts say.
    pub(crate) fn from_drafts(drafts: impl IntoIterator<Item = Draft>) -> Self {
        let mut offered: Vec<Offered> = Vec::new();
        for draft in drafts {
            if draft.name.is_empty() || draft.protocol.is_empty() || draft.name == METADATA_SERVICE {
                continue;
            }
            let like = offered.last().map(|o| o.params.clone());
            let some = |text: &str| Some(text).filter(|t| !t.is_empty()).map(Arc::from);
            offered.push(Offered {
                interface: draft.name.as_str().into(),
                group: some(&draft.group),
                version: version(&draft.version).map(Arc::from),
                protocol: draft.protocol.to_ascii_lowercase().into(),
                port: u16::try_from(draft.port).ok().filter(|p| *p != 0),
                params: shared(&draft.params, like.as_ref()),
            });
        }
        offered.sort_by(|a, b| a.order().cmp(&b.order()));
        offered.dedup_by(|a, b| a.order() == b.order());
        Self { offered }
    }

    /// What it says of `interface`.
    pub(crate) fn of<'a>(&'a self, interface: &str) -> &'a [Offered] {
        let from = self.offered.partition_point(|o| *o.interface < *interface);
        let rest = self.offered.get(from..).unwrap_or_default();
        rest.get(..rest.partition_point(|o| *o.interface == *interface)).unwrap_or_default()
    }

    /// The interfaces, each once.
    pub(crate) fn interfaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.offered.chunk_by(|a, b| a.interface == b.interface).filter_map(|c| Some(&c.first()?.interface))
    }
}

impl Offered {
    fn order(&self) -> impl Ord + '_ {
        (&self.interface, &self.group, &self.version, &self.protocol, self.port)
    }
}

fn draft(value: &Value) -> Draft {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let params = value.get("params").and_then(Value::as_object).into_iter().flatten();
    let port = value.get("port");
    Draft {
        name: text("name"),
        group: text("group"),
        version: text("version"),
        protocol: text("protocol"),
        // Old versions quote it.
        port: port.and_then(|p| p.as_i64().or_else(|| p.as_str()?.parse().ok())).unwrap_or_default(),
        params: params.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Dubbo 2.7.23 reported, shortened.
    const OLD: &str = r#"{"app":"old-app","revision":"C67D8B7C3AF5182B7866A36233A694D4","services":{
        "gray/demo.GreetService:1.0.0:dubbo":{"name":"demo.GreetService","group":"gray","version":"1.0.0","protocol":"dubbo",
          "path":"demo.GreetService","params":{"greet.timeout":"1234","release":"2.7.23","group":"gray"}},
        "old-app/org.apache.dubbo.metadata.MetadataService:1.0.0:dubbo":{"name":"org.apache.dubbo.metadata.MetadataService",
          "group":"old-app","version":"1.0.0","protocol":"dubbo","params":{}},
        "demo.GreetService:dubbo":{"name":"demo.GreetService","protocol":"dubbo","port":32700,"params":{"weight":"150"}}}}"#;

    #[test]
    fn the_report_says_interfaces_and_not_dubbos_own() {
        let metadata = Metadata::from_json(OLD.as_bytes()).unwrap();
        assert_eq!(metadata.interfaces().map(|i| &**i).collect::<Vec<_>>(), ["demo.GreetService"]);
        let [plain, gray] = metadata.of("demo.GreetService") else { panic!("{metadata:?}") };
        assert_eq!((plain.port, plain.params.get("weight")), (Some(32700), Some("150")));
        assert_eq!(
            (gray.port, gray.group.as_deref(), gray.version.as_deref()),
            (None, Some("gray"), Some("1.0.0"))
        );
        assert!(metadata.of("demo.Greet").is_empty() && metadata.of("x").is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_dropped_and_the_rest_stays() {
        let part = |rest: &str| {
            format!(r#"{{"services":{{"good":{{"name":"a.A","protocol":"tri","port":1}},"bad":{rest}}}}}"#)
        };
        for bad in ["7", "{}", r#"{"name":"a.B"}"#, r#"{"protocol":"tri"}"#, r#"{"name":7,"protocol":[]}"#] {
            assert_eq!(Metadata::from_json(part(bad).as_bytes()).unwrap().offered.len(), 1, "{bad}");
        }
        for port in ["0", "99999", "-1", "\"x\"", "1.5", "null"] {
            let odd = part(&format!(r#"{{"name":"a.B","protocol":"tri","port":{port},"params":{{"k":7}}}}"#));
            assert_eq!(Metadata::from_json(odd.as_bytes()).unwrap().of("a.B")[0].port, None, "{port}");
        }
        for (text, words) in [
            ("", "no JSON"),
            ("{", "no JSON"),
            ("127.0.0.1", "no JSON"),
            ("{}", "no services"),
            ("[]", "no services"),
        ] {
            assert!(Metadata::from_json(text.as_bytes()).unwrap_err().contains(words), "{text}");
        }
    }
}
