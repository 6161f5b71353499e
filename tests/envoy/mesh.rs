//! One pod: two instances of a service, Chandler, istiod and Envoy in a network namespace.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::support::{
    Age, Backend, Calls, Chandler, ChandlerBuilder, Envoy, Istiod, NetNs, PATIENCE, Place, Sidecar,
    eventually,
};

/// Where the instances are: addresses that applications can reach, and that the sidecar captures.
pub(crate) const FIRST: &str = "10.20.0.1";
pub(crate) const SECOND: &str = "10.20.0.2";

/// What takes a call that is led to nothing of ours.
pub(crate) const BYPASS: &str = "PassthroughCluster";

/// What is wanted of a mesh beside its services.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Wanted {
    /// `REGISTRY_ONLY` in place of `ALLOW_ANY`.
    pub(crate) registry_only: bool,
}

pub(crate) struct Mesh {
    pub(crate) place: Place,
    pub(crate) chandler: Chandler,
    pub(crate) istiod: Istiod,
    pub(crate) envoy: Envoy,
    backends: Vec<Backend>,
}

impl Mesh {
    /// Everything, with `services` published.
    pub(crate) async fn start(age: Age, services: &str) -> Self {
        Self::start_with(age, services, Wanted::default()).await
    }

    pub(crate) async fn start_with(age: Age, services: &str, wanted: Wanted) -> Self {
        let place = Self::place().await;
        let chandler = Chandler::build().place(&place).service_file("services.yaml", services);
        Self::around(age, place, chandler, wanted).await
    }

    /// Where a mesh can be: a registry has to be there before the rest.
    pub(crate) async fn place() -> Place {
        NetNs::create(&[FIRST, SECOND]).await
    }

    /// The rest, in `place`, fed by this registry (the whole of `registries:`).
    pub(crate) async fn of_registry(age: Age, place: &Place, registry: &str) -> Self {
        Self::of_registry_with(age, place, registry, Wanted::default()).await
    }

    pub(crate) async fn of_registry_with(age: Age, place: &Place, registry: &str, wanted: Wanted) -> Self {
        let chandler = Chandler::build().place(place).registries(registry);
        Self::around(age, place.clone(), chandler, wanted).await
    }

    async fn around(age: Age, place: Place, chandler: ChandlerBuilder, wanted: Wanted) -> Self {
        let chandler = chandler.start().await;
        let mut istiod = Istiod::build(age, chandler.grpc).place(&place).for_plain_envoy();
        if wanted.registry_only {
            istiod = istiod.mesh("outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
        }
        let istiod = istiod.start().await;
        let envoy = Envoy::start(&istiod).await;
        Self { place, chandler, istiod, envoy, backends: Vec::new() }
    }

    /// An instance that speaks HTTP.
    pub(crate) async fn http(&mut self, name: &str, at: &str) {
        self.backends.push(Backend::http(&self.place, name, &[address(at)]).await);
    }

    /// An instance that answers lines over TCP.
    pub(crate) async fn tcp(&mut self, name: &str, at: &str) {
        self.backends.push(Backend::tcp(&self.place, name, &[address(at)]).await);
    }

    /// The virtual address of a host.
    pub(crate) async fn virtual_address(&self, host: &str) -> String {
        let path = format!("/api/v1/resources?collection=serviceentries&name=chandler/{host}");
        let row = eventually(host, PATIENCE, async || {
            Some(self.chandler.api(&path).await).filter(|row| row["object"].is_object())
        })
        .await;
        row["object"]["spec"]["addresses"][0].as_str().expect("a virtual address").to_owned()
    }

    /// Where a sidecar with DNS capture leads this host: what istiod tells it for its own DNS server.
    pub(crate) async fn captured(&self, host: &str) -> IpAddr {
        let flags = ["-name-table", "-meta", "DNS_CAPTURE=true"];
        let mut sidecar = Sidecar::start(&self.place, self.istiod.grpc_addr(), &flags);
        let row = |line: &Value| -> Option<Value> {
            let rows = (line["type"] == "NDS").then(|| line["detail"].as_array())??;
            rows.iter().find(|row| row["host"] == host).cloned()
        };
        let line = sidecar.next_where(host, |line| row(line).is_some()).await;
        let row = row(&line).expect("it was there a moment ago");
        row["addresses"][0].as_str().and_then(|at| at.parse().ok()).expect("an address")
    }

    /// Ends the instance of this name: whoever calls it from now on fails.
    pub(crate) async fn end(&mut self, name: &str) {
        let at = self.backends.iter().position(|one| one.name() == name).expect("an instance of that name");
        self.backends.swap_remove(at).stop().await;
    }

    /// That these clusters, and no other, have had connections and requests since the start: nothing went past the mesh.
    pub(crate) async fn only_used(&self, clusters: &[&str]) {
        let used = self.envoy.took(&BTreeMap::new()).await;
        assert_eq!(used, clusters);
        let counts = self.envoy.connections().await;
        assert_eq!(
            counts.get(BYPASS),
            Some(&0),
            "its counters are there, and nothing is in them: {counts:?}"
        );
    }

    /// One HTTP call: who answered, and the clusters that were used for it.
    pub(crate) async fn call_http(&self, url: &str, connect: &str) -> (Result<Value, String>, Vec<String>) {
        let before = self.envoy.connections().await;
        let answer = Calls::one_http(&self.place, url, address(connect)).await;
        (answer.map(|said| said["name"].clone()), self.envoy.took(&before).await)
    }

    /// One call over TCP: who answered, and the clusters that were used for it.
    pub(crate) async fn call_tcp(&self, connect: &str) -> (Result<Value, String>, Vec<String>) {
        let before = self.envoy.connections().await;
        let answer = Calls::one_tcp(&self.place, address(connect)).await;
        (answer.map(|said| said["name"].clone()), self.envoy.took(&before).await)
    }

    /// An HTTP call that this cluster must take; who answered.
    pub(crate) async fn http_taken(&self, url: &str, connect: &str, cluster: &str) -> String {
        let (answer, took) = self.call_http(url, connect).await;
        assert_eq!(took, [cluster], "{url} to {connect}: {answer:?}");
        name_of(answer)
    }

    /// A TCP call that this cluster must take; who answered.
    pub(crate) async fn tcp_taken(&self, connect: &str, cluster: &str) -> String {
        let (answer, took) = self.call_tcp(connect).await;
        assert_eq!(took, [cluster], "{connect}: {answer:?}");
        name_of(answer)
    }
}

fn name_of(answer: Result<Value, String>) -> String {
    answer.expect("the call is answered").as_str().expect("a name").to_owned()
}

/// `ADDRESS:PORT`.
pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
