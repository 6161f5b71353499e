//! What istiod says of itself: its debug pages, which ask loopback peers for nothing, and its metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::super::process::{PATIENCE, Quiet, eventually};
use super::Istiod;

/// An endpoint as `endpointShardz` shows it, alike for every age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardEndpoint {
    pub address: String,
    pub port: u64,
    pub port_name: String,
    /// 0: none given.
    pub weight: u64,
    pub locality: String,
    pub network: String,
    pub service_account: String,
    /// `disabled` or `istio`.
    pub tls_mode: String,
    /// With those that istiod adds (`topology.…`).
    pub labels: BTreeMap<String, String>,
}

impl ShardEndpoint {
    pub(in super::super) fn read(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        // 1.18 shows one address, the newest a list.
        let address = value.get("Address").unwrap_or(&value["Addresses"][0]);
        let labels = value["Labels"].as_object().into_iter().flatten();
        Self {
            address: text(address),
            port: number(&value["EndpointPort"]),
            port_name: text(&value["ServicePortName"]),
            weight: number(&value["LbWeight"]),
            locality: text(&value["Locality"]["Label"]),
            network: text(&value["Network"]),
            service_account: text(&value["ServiceAccount"]),
            tls_mode: text(&value["TLSMode"]),
            labels: labels.map(|(name, value)| (name.clone(), text(value))).collect(),
        }
    }
}

impl Istiod {
    async fn debug(&self, path: &str) -> Value {
        let answer = self.builder.place.get(self.http, path).await;
        answer.unwrap_or_else(|| panic!("istiod does not answer {path}")).json()
    }

    /// Every configuration object as istiod holds it.
    pub async fn configz(&self) -> Vec<Value> {
        match self.debug("/debug/configz").await {
            Value::Array(all) => all,
            other => panic!("configz is no list: {other:.300}"),
        }
    }

    /// One object of `configz`, by kind, namespace and name.
    pub async fn config(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.configz().await.into_iter().find(|object| {
            let meta = &object["metadata"];
            object["kind"] == kind && meta["namespace"] == namespace && meta["name"] == name
        })
    }

    /// Waits for a state of `configz`.
    pub async fn config_where(&self, what: &str, accept: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(what, PATIENCE, async || Some(self.configz().await).filter(|all| accept(all))).await
    }

    /// The services that it made of the objects.
    pub async fn registryz(&self) -> Value {
        self.debug("/debug/registryz").await
    }

    /// The endpoints of each host, by namespace and shard.
    pub async fn endpoint_shardz(&self) -> Value {
        self.debug("/debug/endpointShardz").await
    }

    /// The endpoints of one host in all namespaces and shards, sorted by address and port.
    pub async fn endpoints(&self, host: &str) -> Vec<ShardEndpoint> {
        let shards = self.endpoint_shardz().await;
        let namespaces = shards[host].as_object().into_iter().flat_map(|namespaces| namespaces.values());
        let lists = namespaces.filter_map(|one| one["Shards"].as_object()).flat_map(|shards| shards.values());
        let mut all: Vec<_> = lists.filter_map(Value::as_array).flatten().map(ShardEndpoint::read).collect();
        all.sort();
        all
    }

    /// Waits for endpoints of a host.
    pub async fn endpoints_where(
        &self,
        host: &str,
        what: &str,
        accept: impl Fn(&[ShardEndpoint]) -> bool,
    ) -> Vec<ShardEndpoint> {
        eventually(what, PATIENCE, async || Some(self.endpoints(host).await).filter(|all| accept(all))).await
    }

    /// One service of `registryz`.
    pub async fn service(&self, host: &str) -> Option<Value> {
        let services = self.registryz().await;
        services.as_array()?.iter().find(|service| service["hostname"] == host).cloned()
    }

    /// Any other page of its debug interface.
    pub async fn debug_page(&self, path: &str) -> Value {
        self.debug(path).await
    }

    /// Its metrics, series by series as they are written: name and labels to value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer =
            self.builder.place.get(self.monitoring, "/metrics").await.expect("istiod answers /metrics");
        let series = answer
            .body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '));
        series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// One metric: a series where `name` has labels as istiod writes them, else the sum over all of that name. 0 if there
    /// is none, as Prometheus counters are before their first event.
    pub async fn metric(&self, name: &str) -> f64 {
        let belongs = |series: &str| {
            series == name || series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
        };
        self.metrics()
            .await
            .iter()
            .filter(|(series, _)| belongs(series))
            .fold(0.0, |sum, (_, value)| sum + value)
    }

    /// How often it has told proxies anything, by kind: `cds`, `eds`, `lds`, `rds`. With a proxy connected, endpoints
    /// alone show as `eds`; anything more is a full push and shows as `cds` too. (Its count of push contexts tells them
    /// apart on 1.18 only: the newest makes one for every push.)
    pub async fn pushes(&self) -> BTreeMap<String, f64> {
        self.by_type("pilot_xds_pushes").await
    }

    async fn by_type(&self, metric: &str) -> BTreeMap<String, f64> {
        let metrics = self.metrics().await;
        let label = |series: &str| {
            let rest = series.strip_prefix(metric)?.strip_prefix("{type=\"")?;
            Some(rest.strip_suffix("\"}")?.to_owned())
        };
        metrics.iter().filter_map(|(series, value)| Some((label(series)?, *value))).collect()
    }

    /// Why it pushed, and how often (`pilot_push_triggers`): `endpoint`, `service`, `config`, `proxy`, …
    pub async fn triggers(&self) -> BTreeMap<String, f64> {
        self.by_type("pilot_push_triggers").await
    }

    /// Waits until nothing has been pushed for `calm`, and returns what was pushed until then.
    pub async fn settled(&self, calm: Duration) -> BTreeMap<String, f64> {
        let (mut last, mut quiet) = (self.pushes().await, Quiet::default());
        eventually("istiod to be done pushing", PATIENCE, async || {
            let now = self.pushes().await;
            let so_far = quiet.after(now == last);
            last = now;
            (so_far >= calm).then(|| last.clone())
        })
        .await
    }
}
