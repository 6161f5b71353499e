//! Answers as real servers gave them, and what nobody should give.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::endpoint::{Address, EndpointPorts};
use crate::registry::consul::settings::{Consistency, ConsulSettings, Strategy as Watching};
use crate::registry::http;

fn settings(change: impl FnOnce(&mut ConsulSettings)) -> ConsulSettings {
    let mut settings = ConsulSettings {
        http: http::Settings {
            addresses: vec![http::settings::Address::parse("http://127.0.0.1:8500").unwrap()],
            tls: http::settings::TlsFiles::default(),
            credentials: http::settings::Credentials::None,
            limits: http::settings::Limits::default(),
        },
        datacenters: Vec::new(),
        local_datacenter: None,
        domain: "consul".into(),
        namespaces: Vec::new(),
        partitions: Vec::new(),
        peers: Vec::new(),
        filter: None,
        consistency: Consistency::Default,
        strategy: Watching::Auto,
        connections: 100,
        instances: Instances::default(),
    };
    change(&mut settings);
    settings
}

fn place() -> Place {
    Place::all(&settings(|_| ())).swap_remove(0)
}

fn read_with(body: &Value, options: &Instances) -> Read {
    instances(&"web".into(), body.to_string().as_bytes(), &place(), options, None).unwrap()
}

fn read(body: &Value) -> Read {
    read_with(body, &Instances::default())
}

/// An instance of 1.22 as it stands in an answer, with what differs merged into its parts.
fn entry(id: &str, node: &Value, service: &Value, checks: &Value) -> Value {
    let mut n = json!({
        "ID": "44444444-0000-0000-0000-000000000000", "Node": "n1", "Address": "10.1.10.12", "Datacenter": "dc1",
        "TaggedAddresses": {"lan": "10.1.10.12", "lan_ipv4": "10.1.10.12", "wan": "203.0.113.5"},
        "Meta": {"consul-network-segment": "", "consul-version": "1.22.7"}, "CreateIndex": 14, "ModifyIndex": 15
    });
    let mut s = json!({
        "ID": id, "Service": "web", "Tags": ["v1", "env|prod", "tier=front"], "Address": "", "Port": 8080,
        "TaggedAddresses": {"wan": {"Address": "198.51.100.7", "Port": 80}},
        "Meta": {"protocol": "grpc", "version": "1.4"}, "SocketPath": "",
        "Weights": {"Passing": 10, "Warning": 1}, "EnableTagOverride": false,
        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}}, "Connect": {}, "PeerName": "",
        "CreateIndex": 20, "ModifyIndex": 20
    });
    for (to, from) in [(&mut n, node), (&mut s, service)] {
        for (key, value) in from.as_object().into_iter().flatten() {
            to[key] = value.clone();
        }
    }
    json!({"Node": n, "Service": s, "Checks": checks})
}

fn check(status: &str) -> Value {
    json!([
        {"Node": "n1", "CheckID": "serfHealth", "Status": "passing", "ServiceID": "", "ServiceName": ""},
        {"Node": "n1", "CheckID": "service:web-1", "Status": status, "ServiceID": "web-1", "ServiceName": "web"}
    ])
}

#[test]
fn an_instance_becomes_an_endpoint_with_all_that_it_says() {
    let got = read(&json!([entry("web-1", &json!({}), &json!({}), &check("passing"))]));
    assert_eq!((got.faults.len(), got.instances.len()), (0, 1));
    let service = got.service.unwrap();
    assert_eq!((&*service.key.name, service.says.protocol), ("web", None));
    assert_eq!(service.variables.iter().collect::<Vec<_>>(), [("datacenter", "dc1"), ("domain", "consul")]);
    let endpoint = &service.endpoints[0];
    assert_eq!((&*endpoint.id, endpoint.address.to_string()), ("n1/web-1", "10.1.10.12".into()));
    assert_eq!((&endpoint.ports, endpoint.weight.thousandths()), (&EndpointPorts::One(8080), 10_000));
    assert_eq!(endpoint.locality.as_deref(), Some("dc1"));
    assert_eq!(endpoint.tags.iter().collect::<Vec<_>>(), ["env|prod", "tier=front", "v1"]);
    let labels: Vec<_> = endpoint.labels.iter().collect();
    let want = [("env", "prod"), ("protocol", "grpc"), ("tier", "front"), ("v1", ""), ("version", "1.4")];
    assert_eq!(labels, want);
}

#[test]
fn a_warning_changes_the_weight_and_anything_worse_leaves_out() {
    let of = |status: &str| {
        read(&json!([entry("web-1", &json!({}), &json!({}), &check(status))])).service.unwrap()
    };
    assert_eq!(of("warning").endpoints[0].weight.thousandths(), 1000);
    assert_eq!(&*of("critical").left_out.by_reason()[0].reason, "critical");
    let maintained =
        json!([{"CheckID": "_service_maintenance:web-1", "Status": "critical"}, {"Status": "passing"}]);
    let service = read(&json!([entry("web-1", &json!({}), &json!({}), &maintained)])).service.unwrap();
    assert_eq!((service.endpoints.len(), &*service.left_out.by_reason()[0].reason), (0, "maintenance"));
    let strict = Instances { only_passing: true, ..Instances::default() };
    let service =
        read_with(&json!([entry("web-1", &json!({}), &json!({}), &check("warning"))]), &strict).service;
    assert_eq!(&*service.unwrap().left_out.by_reason()[0].reason, "warning");
}

#[test]
fn the_address_is_the_preferred_one_the_services_or_the_nodes() {
    let wan = Instances { tagged_address: Some("wan".into()), ..Instances::default() };
    let none = json!({"TaggedAddresses": null});
    for (options, service, want) in [
        (&Instances::default(), json!({}), "10.1.10.12:8080"),
        (&Instances::default(), json!({"Address": "10.9.9.9"}), "10.9.9.9:8080"),
        (&Instances::default(), json!({"Address": "[2001:db8::1]"}), "2001:db8::1:8080"),
        (&Instances::default(), json!({"Address": "Db.Example"}), "db.example:8080"),
        (&wan, json!({}), "198.51.100.7:80"),
        (&wan, none.clone(), "203.0.113.5:8080"),
        (&wan, json!({"TaggedAddresses": null, "Address": "10.9.9.9"}), "10.9.9.9:8080"),
    ] {
        let got = read_with(&json!([entry("web-1", &json!({}), &service, &check("passing"))]), options);
        let endpoint = &got.service.unwrap().endpoints[0];
        let EndpointPorts::One(port) = endpoint.ports else { panic!("{endpoint:?}") };
        assert_eq!(format!("{}:{port}", endpoint.address), want);
    }
}

#[test]
fn what_makes_no_sense_is_left_out_alone_and_named() {
    let good = || entry("good", &json!({}), &json!({"Address": "10.0.0.1"}), &check("passing"));
    for (bad, words) in [
        (entry("bad", &json!({}), &json!({"Port": 0}), &check("passing")), "its port is 0"),
        (entry("bad", &json!({}), &json!({"Port": -1}), &check("passing")), "its port is -1"),
        (entry("bad", &json!({}), &json!({"Port": 65_536}), &check("passing")), "its port is 65536"),
        (entry("bad", &json!({}), &json!({"Port": "http"}), &check("passing")), "instance 2 of web"),
        (entry("bad", &json!({"Address": ""}), &json!({}), &check("passing")), "has an address"),
        (entry("bad", &json!({}), &json!({"Address": "a_b"}), &check("passing")), "not a valid FQDN"),
        (
            entry("bad", &json!({}), &json!({"Weights": {"Passing": -1}}), &check("passing")),
            "its weight is -1",
        ),
        (entry("bad", &json!({}), &json!({"Meta": {"a": 1}}), &check("passing")), "instance 2 of web"),
        (entry("bad", &json!({}), &json!({}), &check("odd")), "unknown status odd"),
        (entry("good", &json!({}), &json!({}), &check("passing")), "n1/good of web is listed twice"),
        (json!("x"), "instance 2 of web"),
    ] {
        let got = read(&json!([good(), bad]));
        assert!(got.faults.len() == 1 && got.faults[0].contains(words), "{words}: {:?}", got.faults);
        let service = got.service.unwrap();
        assert_eq!((service.endpoints.len(), got.senseless), (1, false), "{words}");
        assert_eq!(&*service.endpoints[0].id, "n1/good");
    }
    let alone = read(&json!([entry("bad", &json!({}), &json!({"Port": 0}), &check("passing"))]));
    assert!(alone.senseless);
    let zero = entry("bad", &json!({}), &json!({"Weights": {"Passing": 0}}), &check("passing"));
    assert_eq!(read(&json!([zero])).service.unwrap().endpoints[0].weight.thousandths(), 0);
}

#[test]
fn metadata_of_64_kib_make_no_instance_senseless_and_touch_no_neighbour() {
    let meta = json!({"Meta": {"note": "x".repeat(64 << 10), "version": "v1"}});
    let big = entry("big", &json!({}), &meta, &check("passing"));
    let small = entry("small", &json!({}), &json!({"Meta": {"version": "v2"}}), &check("passing"));
    let got = read(&json!([big, small]));
    let service = got.service.unwrap();
    let of = |n: usize, key: &str| service.endpoints[n].labels.get(key).map(str::len);
    assert_eq!((of(0, "note"), of(1, "note"), of(1, "version")), (Some(64 << 10), None, Some(2)));
    assert!(got.faults.is_empty(), "{:?}", got.faults);
    let rules = crate::convert::mapping::LabelRules::default();
    let applied = rules.apply(&service.endpoints[0].labels);
    assert!(applied.iter().all(|(key, value)| key.len() <= 317 && value.len() <= 63), "{applied:?}");
    assert_eq!(applied.get("version"), Some("v1"));
}

#[test]
fn ids_are_unique_on_a_node_only() {
    let on = |node: &str| entry("web-1", &json!({"Node": node}), &json!({}), &check("passing"));
    let got = read(&json!([on("n2"), on("n1")]));
    assert_eq!(got.instances.iter().map(|i| &**i).collect::<Vec<_>>(), ["n1/web-1", "n2/web-1"]);
    assert_eq!((got.service.unwrap().endpoints.len(), got.nodes.len()), (2, 2));
}

#[test]
fn sidecars_and_gateways_are_taken_only_on_request() {
    let kind = |kind: &str| json!([entry("x", &json!({}), &json!({"Kind": kind}), &check("passing"))]);
    let (sidecars, gateways) = (
        Instances { sidecars: true, ..Instances::default() },
        Instances { gateways: true, ..Instances::default() },
    );
    for (name, with) in
        [("connect-proxy", &sidecars), ("mesh-gateway", &gateways), ("api-gateway", &gateways)]
    {
        let without = read(&kind(name));
        assert_eq!((without.service, without.instances.len()), (None, 1), "{name}");
        assert!(read_with(&kind(name), with).service.is_some(), "{name}");
    }
}

#[test]
fn the_protocol_of_the_service_defaults_is_what_the_registry_says() {
    let body = json!([entry("a", &json!({}), &json!({}), &check("passing"))]).to_string();
    let (options, http2) = (Instances::default(), Some(Protocol::Http2));
    let read = instances(&"web".into(), body.as_bytes(), &place(), &options, http2).unwrap();
    assert_eq!(read.service.unwrap().says.protocol, http2);
}

#[test]
fn what_1_8_leaves_out_or_says_null_is_not_missed() {
    let old = json!([{
        "Node": {"ID": "", "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1", "TaggedAddresses": null, "Meta": null},
        "Service": {"ID": "web", "Service": "web", "Tags": null, "Address": "", "Meta": null, "Port": 80},
        "Checks": null
    }]);
    let got = read(&old);
    assert_eq!((got.faults.len(), got.service.unwrap().endpoints.len()), (0, 1));
    assert_eq!(read(&Value::Null), Read::default());
    assert_eq!(services(b"{\"a\": null, \"b\": [\"x\"], \"c\": 1, \"\": []}").unwrap().len(), 3);
    assert!(services(b"[]").is_err());
    assert!(instances(&"web".into(), b"{}", &place(), &Instances::default(), None).is_err());
}

#[test]
fn scopes_follow_from_datacenters_partitions_and_namespaces() {
    let of = |change: fn(&mut ConsulSettings)| -> Vec<(String, String, String)> {
        let places = Place::all(&settings(change));
        let row = |p: &Place| {
            let at = p.variables(None).get("at").unwrap_or_default().to_owned();
            (p.scope.as_str().to_owned(), p.key("web").name.to_string(), at)
        };
        places.iter().map(row).collect()
    };
    let row = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(of(|_| ()), [row("local", "web", "")]);
    assert_eq!(
        of(|s| s.datacenters = vec!["dc1".into(), "dc2".into()]),
        [row("dc1", "web", ""), row("dc2", "dc2/web", "dc2")]
    );
    assert_eq!(
        of(|s| {
            s.datacenters = vec!["dc2".into()];
            s.local_datacenter = Some("dc1".into());
            s.namespaces = vec!["default".into(), "team".into()];
            s.partitions = vec!["p".into()];
        }),
        [
            row("dc2/p/default", "dc2/p/default/web", "p.ap.dc2.dc"),
            row("dc2/p/team", "dc2/p/team/web", "team.ns.p.ap.dc2.dc")
        ]
    );
    assert_eq!(
        of(|s| s.peers = vec!["east".into()]),
        [row("local", "web", ""), row("peer/east", "peer/east/web", "east.peer")]
    );
}

#[test]
fn the_other_answers_are_read_as_well() {
    let body = br#"[{"Node": "n1", "CheckID": "service:web", "ServiceName": "web", "Status": "critical"}, 7,
        {"Node": "n2", "CheckID": "serfHealth", "ServiceName": ""}]"#;
    let found: Vec<_> = failing(body).unwrap().into_iter().map(|f| (f.node, f.service)).collect();
    assert_eq!(found, [("n1".into(), "web".into()), ("n2".into(), String::new())]);
    let body = br#"[{"Kind": "service-defaults", "Name": "web", "Protocol": "grpc"}, {"Name": "odd", "Protocol": "x"}]"#;
    assert_eq!(service_defaults(body).unwrap(), BTreeMap::from([("web".into(), Protocol::Grpc)]));
    let body =
        br#"{"Name": "east", "StreamStatus": {"ImportedServices": ["api"], "ExportedServices": null}}"#;
    assert_eq!(imported(body).unwrap().keys().map(|k| &**k).collect::<Vec<_>>(), ["api"]);
}

/// JSON that resembles an answer: the right keys with anything behind them.
fn odd_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["", "critical", "10.0.0.1", "a_b:c", "ü"]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "Node",
        "Service",
        "Checks",
        "ID",
        "Address",
        "Port",
        "Tags",
        "Meta",
        "Weights",
        "Passing",
        "Warning",
        "Kind",
        "Status",
        "CheckID",
        "TaggedAddresses",
        "wan",
        "Locality",
        "Region",
        "Zone",
        "Datacenter",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|m| Value::from(m.into_iter().collect::<serde_json::Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn no_answer_panics_and_no_fault_is_long(body in odd_json(), bytes in any::<Vec<u8>>()) {
        let wan = Instances { tagged_address: Some("wan".into()), sidecars: true, gateways: true, ..Instances::default() };
        for body in [json!([body.clone()]).to_string().into_bytes(), body.to_string().into_bytes(), bytes] {
            if let Ok(read) = instances(&"web".into(), &body, &place(), &wan, None) {
                prop_assert!(read.faults.iter().all(|f| f.len() < 1000));
            }
            let _ = (services(&body), failing(&body), service_defaults(&body), imported(&body));
        }
    }

    #[test]
    fn neighbours_of_anything_are_untouched(odd in odd_json()) {
        let good = entry("good", &json!({"Node": "unlikely"}), &json!({}), &check("passing"));
        let got = read(&json!([odd, good]));
        let service = got.service.unwrap();
        prop_assert!(service.endpoints.iter().any(|e| &*e.id == "unlikely/good" && e.address == Address::parse("10.1.10.12").unwrap()));
    }

    /// The order of an answer is the server's own business.
    #[test]
    fn the_order_of_instances_does_not_show(ids in prop::collection::btree_set("[a-d]{1,2}", 0..6), seed in any::<u64>()) {
        let entries: Vec<Value> = ids.iter().map(|id| entry(id, &json!({}), &json!({}), &check("passing"))).collect();
        let mut other = entries.clone();
        let len = other.len().max(1);
        other.rotate_left(usize::try_from(seed % u64::try_from(len).unwrap()).unwrap());
        prop_assert_eq!(read(&json!(entries)), read(&json!(other)));
    }
}

#[test]
fn two_lists_have_the_same_gist_only_if_they_say_the_same() {
    let of = |body: &str| gist(body.as_bytes());
    let list = of(r#"{"web": ["v1", "prod"], "db": [], "mail": null}"#);
    assert!(list.is_some());
    assert_eq!(of(r#"{"db": [], "web": ["prod", "v1"], "mail": []}"#), list);
    for other in [
        r#"{"web": ["v1", "prod"], "db": []}"#,
        r#"{"web": ["v1"], "db": ["prod"], "mail": null}"#,
        r#"{"web": ["v2", "prod"], "db": [], "mail": null}"#,
        r#"{"prod": ["v1", "web"], "db": [], "mail": null}"#,
        "{}",
    ] {
        assert!(of(other).is_some() && of(other) != list, "{other}");
    }
    assert_eq!(of(r#"{"w\u0065b": []}"#), of(r#"{"web": []}"#));
    // Whoever can make sense of these reads them in full.
    for odd in ["[]", "", r#"{"web": [1]}"#, r#"{"web": []}x"#] {
        assert_eq!(of(odd), None, "{odd}");
    }
}
