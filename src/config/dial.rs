//! `server.mcp.dial`: control planes that we dial because they do not dial us.

use std::path::{Path, PathBuf};

use http::uri::Authority;
use serde_json::{Map, Value, json};

use crate::delivery::Sink;
use crate::security::tls::client::{ClientFiles, OwnFiles, Trust};
use crate::yaml::fields::Fields;
use crate::yaml::{Fault, Node};

/// Reads `mcp`; each address once.
pub(super) fn decode(mut mcp: Fields<'_, '_>, base: &Path) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for mut f in mcp.sections("dial").unwrap_or_default() {
        let node = f.take("address");
        let address = f.need("address", address);
        let tls = tls(f.section("tls"), base);
        let Some(address) = address else { continue };
        match node.filter(|_| sinks.iter().any(|s| s.address == address)) {
            Some(node) => {
                f.findings().push(node.fault(format!("{address} is dialled already: once is enough")))
            }
            None => sinks.push(Sink { address, tls }),
        }
    }
    sinks
}

/// In the form in which it is written.
pub(super) fn shown(sinks: &[Sink]) -> Value {
    let one = |sink: &Sink| {
        let mut out = Map::new();
        out.insert("address".into(), json!(sink.address));
        out.extend(sink.tls.as_ref().map(|files| ("tls".to_owned(), shown_tls(files))));
        Value::from(out)
    };
    json!({ "dial": sinks.iter().map(one).collect::<Vec<_>>() })
}

fn shown_tls(files: &ClientFiles) -> Value {
    let path = |p: &Path| json!(p.display().to_string());
    let mut out = Map::new();
    if let Trust::File(ca) = &files.trust {
        out.insert("caFile".into(), path(ca));
    }
    if let Some(own) = &files.own {
        out.insert("certFile".into(), path(&own.certificate));
        out.insert("keyFile".into(), path(&own.key));
    }
    out.extend(files.server_name.as_ref().map(|name| ("serverName".to_owned(), json!(name))));
    out.into()
}

fn address(node: &Node) -> Result<String, Fault> {
    let wanted = || node.expected("a host and a port, such as `pilot.istio-system:15019`");
    let text = node.text().map_err(|_| wanted())?;
    let authority: Authority = text.parse().map_err(|_| wanted())?;
    let right =
        !authority.host().is_empty() && authority.port_u16().is_some_and(|p| p > 0) && !text.contains('@');
    if right { Ok(text.to_owned()) } else { Err(wanted()) }
}

/// `None`: plaintext.
fn tls(mut f: Fields<'_, '_>, base: &Path) -> Option<ClientFiles> {
    let file = |n: &Node| match n.text()? {
        "" => Err(n.fault("no path: leave the key out instead")),
        text => Ok(base.join(text)),
    };
    let ca: Option<PathBuf> = f.get("caFile", file);
    let (certificate, key) = (f.get("certFile", file), f.get("keyFile", file));
    let server_name = f.get("serverName", |n| n.text().map(str::to_owned));
    if f.is_void() {
        return None;
    }
    if certificate.is_some() != key.is_some() {
        let words = "`certFile` and `keyFile` go together: one of them is missing";
        f.findings().push(Fault::new(f.at(), words));
    }
    let own = certificate.zip(key).map(|(certificate, key)| OwnFiles { certificate, key });
    Some(ClientFiles { trust: ca.map_or(Trust::System, Trust::File), own, server_name })
}
