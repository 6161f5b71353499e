//! The kinds of resources that a control plane may ask for: a closed list.
//!
//! Sources: `collections.Pilot` of Istio 1.7 to 1.31 (type URLs asked for), the `Proto` column of the same tables
//! (body types: one for all API versions of a kind).

use std::fmt;

/// A kind of resource. What is not here is answered as unknown: empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are Istio's kinds
pub enum Collection {
    ServiceEntry,
    WorkloadEntry,
    WorkloadGroup,
    VirtualService,
    DestinationRule,
    Gateway,
    Sidecar,
    EnvoyFilter,
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
    Telemetry,
    ProxyConfig,
    WasmPlugin,
    TrafficExtension,
}

/// What is known about a kind.
#[derive(Debug)]
struct Facts {
    collection: Collection,
    kind: &'static str,
    plural: &'static str,
    /// What kubectl takes for it.
    short: &'static str,
    group: &'static str,
    /// The API versions under which any Istio asks for it, newest first.
    versions: &'static [&'static str],
    /// The protobuf message of the body, whatever version was asked for.
    body: &'static str,
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const ALL_NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];

const fn row(
    collection: Collection,
    names: [&'static str; 3],
    group: &'static str,
    versions: &'static [&'static str],
    body: &'static str,
) -> Facts {
    let [kind, plural, short] = names;
    Facts { collection, kind, plural, short, group, versions, body }
}

/// In the order of the enum, which indexes it.
#[rustfmt::skip]
const TABLE: [Facts; 15] = [
    row(Collection::ServiceEntry, ["ServiceEntry", "serviceentries", "se"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.ServiceEntry"),
    row(Collection::WorkloadEntry, ["WorkloadEntry", "workloadentries", "we"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.WorkloadEntry"),
    row(Collection::WorkloadGroup, ["WorkloadGroup", "workloadgroups", "wg"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.WorkloadGroup"),
    row(Collection::VirtualService, ["VirtualService", "virtualservices", "vs"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.VirtualService"),
    row(Collection::DestinationRule, ["DestinationRule", "destinationrules", "dr"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.DestinationRule"),
    row(Collection::Gateway, ["Gateway", "gateways", "gw"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.Gateway"),
    row(Collection::Sidecar, ["Sidecar", "sidecars", "sc"], NETWORKING, ALL_NETWORKING, "istio.networking.v1alpha3.Sidecar"),
    row(Collection::EnvoyFilter, ["EnvoyFilter", "envoyfilters", "ef"], NETWORKING, &["v1alpha3"], "istio.networking.v1alpha3.EnvoyFilter"),
    row(Collection::AuthorizationPolicy, ["AuthorizationPolicy", "authorizationpolicies", "ap"], SECURITY, &["v1", "v1beta1"], "istio.security.v1beta1.AuthorizationPolicy"),
    row(Collection::PeerAuthentication, ["PeerAuthentication", "peerauthentications", "pa"], SECURITY, &["v1", "v1beta1"], "istio.security.v1beta1.PeerAuthentication"),
    row(Collection::RequestAuthentication, ["RequestAuthentication", "requestauthentications", "ra"], SECURITY, &["v1", "v1beta1"], "istio.security.v1beta1.RequestAuthentication"),
    row(Collection::Telemetry, ["Telemetry", "telemetries", "telemetry"], "telemetry.istio.io", &["v1", "v1alpha1"], "istio.telemetry.v1alpha1.Telemetry"),
    row(Collection::ProxyConfig, ["ProxyConfig", "proxyconfigs", "pc"], NETWORKING, &["v1beta1"], "istio.networking.v1beta1.ProxyConfig"),
    row(Collection::WasmPlugin, ["WasmPlugin", "wasmplugins", "wp"], EXTENSIONS, &["v1alpha1"], "istio.extensions.v1alpha1.WasmPlugin"),
    row(Collection::TrafficExtension, ["TrafficExtension", "trafficextensions", "te"], EXTENSIONS, &["v1alpha1"], "istio.extensions.v1alpha1.TrafficExtension"),
];

impl Collection {
    /// How many there are.
    pub const COUNT: usize = TABLE.len();

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|f| f.collection)
    }

    /// The kind that an xDS type URL `group/version/Kind` asks for, at any version that any Istio ever used.
    #[must_use]
    pub fn of_type_url(url: &str) -> Option<Self> {
        let mut parts = url.split('/');
        let (group, version, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let known = |f: &&Facts| f.kind == kind && f.group == group && f.versions.contains(&version);
        if parts.next().is_some() { None } else { TABLE.iter().find(known).map(|f| f.collection) }
    }

    /// The kind under any name that kubectl would take: kind, plural, singular or short name, any case.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let known = |f: &&Facts| f.plural == name || f.short == name || f.kind.eq_ignore_ascii_case(&name);
        TABLE.iter().find(known).map(|f| f.collection)
    }

    /// The kind under any name that people write: those of [`of_name`](Self::of_name), an xDS type URL, or the name of a
    /// legacy collection (`istio/networking/v1alpha3/serviceentries`).
    #[must_use]
    pub fn of_any_name(name: &str) -> Option<Self> {
        Self::of_type_url(name).or_else(|| Self::of_name(name.rsplit('/').next().unwrap_or(name)))
    }

    /// The kind written as `apiVersion` and `kind`.
    #[must_use]
    pub fn of_api(api_version: &str, kind: &str) -> Option<Self> {
        Self::of_type_url(&format!("{api_version}/{kind}"))
    }

    /// `ServiceEntry`.
    #[must_use]
    pub fn kind(self) -> &'static str {
        self.facts().kind
    }

    /// `serviceentries`.
    #[must_use]
    pub fn plural(self) -> &'static str {
        self.facts().plural
    }

    /// `se`.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.facts().short
    }

    /// `networking.istio.io/v1`: the newest version of its group, for people and for `kubectl apply`.
    #[must_use]
    pub fn api_version(self) -> String {
        let f = self.facts();
        format!("{}/{}", f.group, f.versions.first().copied().unwrap_or_default())
    }

    /// Every version of its group under which it can be had, newest first, written as in `apiVersion`.
    pub fn api_versions(self) -> impl Iterator<Item = String> {
        let f = self.facts();
        f.versions.iter().map(|version| format!("{}/{version}", f.group))
    }

    /// The xDS type URL at the newest version.
    #[must_use]
    pub fn type_url(self) -> String {
        format!("{}/{}", self.api_version(), self.kind())
    }

    /// The full name of the body's protobuf message: one for all versions.
    #[must_use]
    pub fn body_message(self) -> &'static str {
        self.facts().body
    }

    /// Its place in tables of [`Collection::COUNT`] rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    fn facts(self) -> &'static Facts {
        #[allow(clippy::indexing_slicing)] // `the_table_is_in_the_order_of_the_enum`
        &TABLE[self.index()]
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plural())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, f) in TABLE.iter().enumerate() {
            assert_eq!(f.collection.index(), i, "{}", f.kind);
        }
    }

    #[test]
    fn every_version_that_an_istio_asks_for_is_known() {
        for url in [
            "networking.istio.io/v1alpha3/ServiceEntry",
            "networking.istio.io/v1/ServiceEntry",
            "security.istio.io/v1beta1/PeerAuthentication",
            "telemetry.istio.io/v1alpha1/Telemetry",
            "networking.istio.io/v1beta1/ProxyConfig",
            "extensions.istio.io/v1alpha1/TrafficExtension",
        ] {
            assert!(Collection::of_type_url(url).is_some(), "{url}");
        }
        for url in ["core/v1alpha1/MeshConfig", "networking.istio.io/v2/ServiceEntry", "", "a/b/c/d"] {
            assert_eq!(Collection::of_type_url(url), None, "{url}");
        }
    }

    #[test]
    fn names_of_kubectl_are_understood() {
        for name in ["se", "ServiceEntry", "serviceentries", "SERVICEENTRY"] {
            assert_eq!(Collection::of_name(name), Some(Collection::ServiceEntry), "{name}");
            assert_eq!(Collection::of_any_name(name), Some(Collection::ServiceEntry), "{name}");
        }
        for name in [
            "istio/networking/v1alpha3/serviceentries",
            "k8s/networking.istio.io/v1alpha3/serviceentries",
            "networking.istio.io/v1/ServiceEntry",
        ] {
            assert_eq!(Collection::of_any_name(name), Some(Collection::ServiceEntry), "{name}");
        }
        assert_eq!(Collection::of_any_name("istio/mesh/v1alpha1/MeshConfig"), None);
    }
}
