//! `tls` of a listener: which files, and whether clients must have a certificate. The files are read where they are used.

use std::path::Path;

use serde_json::{Value, json};

use super::path;
use crate::security::tls::server::{ClientCertificates, Demand, ServerFiles};
use crate::yaml::Fault;
use crate::yaml::fields::Fields;

const DEMANDS: [(&str, Demand); 2] = [("optional", Demand::Optional), ("required", Demand::Required)];

/// `None`: plaintext, or a fault.
pub(super) fn read(mut f: Fields<'_, '_>, base: &Path) -> Option<ServerFiles> {
    let certificate = f.need("certFile", |node| path(node, base));
    let key = f.need("keyFile", |node| path(node, base));
    let ca = f.get("clientCaFile", |node| path(node, base));
    let said = f.entry("clientCertificates").map(|entry| entry.at);
    let demand = f.or("clientCertificates", Demand::default(), |node| node.choice(&DEMANDS));
    if let (Some(at), None) = (said, &ca) {
        let words =
            "without `clientCaFile` no client certificate can be verified: name the file of authorities";
        f.findings().push(Fault::new(at, words));
    }
    let clients = ca.map(|ca| ClientCertificates { ca, demand });
    Some(ServerFiles { certificate: certificate?, key: key?, clients })
}

/// As it can be written.
pub(super) fn shown(files: &ServerFiles) -> Value {
    let ServerFiles { certificate, key, clients } = files;
    let mut shown = json!({ "certFile": certificate, "keyFile": key });
    if let (Some(clients), Some(map)) = (clients, shown.as_object_mut()) {
        let demand = DEMANDS.iter().find(|(_, d)| *d == clients.demand).map(|(name, _)| *name);
        map.insert("clientCaFile".into(), json!(clients.ca));
        map.insert("clientCertificates".into(), json!(demand));
    }
    shown
}
