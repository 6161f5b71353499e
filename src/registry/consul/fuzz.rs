//! The door through which a fuzzer hands over answers.

use std::sync::Arc;

use super::decode;
use super::place::Place;
use super::settings::{Consistency, ConsulSettings, Instances, Strategy};
use crate::registry::http::settings::{Credentials, Limits, Settings, TlsFiles};

/// Takes the bytes for an answer to each of the questions. What one of them says of a service is returned, with its
/// endpoints; the others are read.
///
/// # Errors
/// Why it says nothing of a service.
///
/// # Panics
/// A rule is broken: a list has a gist and cannot be read, or a service that makes no sense has endpoints.
pub fn read(bytes: &[u8]) -> Result<usize, String> {
    let list = decode::services(bytes);
    assert!(decode::gist(bytes).is_none() || list.is_ok(), "a gist of what cannot be read");
    drop((decode::imported(bytes), decode::failing(bytes), decode::service_defaults(bytes)));
    let Some(place) = Place::all(&settings()).into_iter().next() else { return Err("nowhere".into()) };
    let options = Instances { sidecars: true, gateways: true, ..Instances::default() };
    let read = decode::instances(&Arc::from("fuzz"), bytes, &place, &options, None)?;
    assert!(!read.senseless || read.healthy() == 0, "{read:?}");
    assert!(read.instances.is_sorted() && read.faults.iter().all(|fault| !fault.is_empty()), "{read:?}");
    Ok(read.healthy())
}

fn settings() -> ConsulSettings {
    ConsulSettings {
        http: Settings {
            addresses: Vec::new(),
            tls: TlsFiles::default(),
            credentials: Credentials::None,
            limits: Limits::default(),
        },
        datacenters: Vec::new(),
        local_datacenter: None,
        domain: "consul".into(),
        namespaces: Vec::new(),
        partitions: Vec::new(),
        peers: Vec::new(),
        filter: None,
        consistency: Consistency::Default,
        strategy: Strategy::Auto,
        connections: 1,
        instances: Instances::default(),
    }
}
