//! What the benches share: registries of any size, and a look at the process.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each bench uses its part, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use chandler::convert::mapping::Mapping;
use chandler::convert::naming::Template;
use chandler::convert::validate::Release;
use chandler::model::change::{Batch, Change, Item, Trust};
use chandler::model::endpoint::{Address, Endpoint, EndpointPorts, Weight};
use chandler::model::labels::Labels;
use chandler::model::service::{ItemKind, Protocol, RegistryName, Scope, Service, ServiceKey};
use chandler::pipeline::debounce::Cadence;
use chandler::pipeline::desired::Terms;
use chandler::pipeline::engine::Settings;
use chandler::pipeline::intake::Generation;
use chandler::pipeline::reading::{Identity, RegistrySettings, Startup};
use chandler::resource::collection::Collection;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The only registry of a bench.
pub fn registry() -> RegistryName {
    RegistryName::new("bench")
}

/// Settings as the defaults have them, for one registry.
pub fn settings() -> Settings {
    let template = |text: &str| Template::parse(text, &["service"]).expect("a template");
    let mapping =
        Mapping::new(vec![template("{service}.bench.internal")], template("chandler"), Protocol::Http);
    let registry = RegistrySettings {
        name: registry(),
        generation: Generation(1),
        policy: Arc::new(mapping.into()),
        startup: Startup::default(),
        scopes: vec![Scope::new("all")],
        feeds: vec![Collection::ServiceEntry],
        identity: Identity::default(),
    };
    Settings {
        registries: vec![registry],
        merging: chandler::model::merging::Merging::default(),
        virtual_ranges: vec!["244.0.0.0/6".parse().expect("a range")],
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

/// The service of that number with `endpoints` instances; another `turn` moves the first of them.
pub fn service(number: u32, endpoints: u32, turn: u32) -> Item {
    let labels: Labels = [("version", "v1"), ("app", "bench")].into_iter().collect();
    let zones: [Arc<str>; 3] = ["eu-1/a".into(), "eu-1/b".into(), "eu-1/c".into()];
    let endpoint = |n: u32| {
        let moved = n == 0 && turn > 0;
        let ip = if moved { 0xac10_0000 + turn } else { 0x0a00_0000 + number * endpoints + n };
        let ip = Ipv4Addr::from(ip);
        Endpoint {
            id: format!("i-{number}-{n}").into(),
            labels: labels.clone(),
            locality: zones.get(n as usize % 3).cloned(),
            weight: Weight::new(f64::from(1 + n % 3)).unwrap_or_default(),
            ..Endpoint::at(Address::Ip(ip.into()), EndpointPorts::One(8080))
        }
    };
    let name: Arc<str> = format!("service-{number:06}").into();
    let key = ServiceKey { kind: ItemKind::Service, name: Arc::clone(&name), scope: Scope::new("all") };
    let endpoints = (0..endpoints).map(endpoint).collect();
    Item::Service(Arc::new(Service { endpoints, ..Service::new(key, name) }))
}

/// A complete read of `services` services.
pub fn reset(services: u32, endpoints: u32) -> Batch {
    let items = (0..services).map(|n| service(n, endpoints, 0)).collect();
    Batch(vec![Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete }])
}

/// A row of `/proc/self/status` in KiB.
pub fn memory_kib(row: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(row)).unwrap_or_default();
    line.trim_start_matches(':').split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
