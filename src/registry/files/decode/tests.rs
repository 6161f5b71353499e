use proptest::prelude::*;

use super::*;
use crate::model::endpoint::{Address, EndpointPorts, TlsMode, Weight};
use crate::model::object::Object;
use crate::model::service::{Addresses, Location, Protocol, Service};
use crate::resource::collection::Collection;

fn decode(text: &[u8]) -> Result<Option<Vec<Item>>, String> {
    let decoder = Decoder { scope: Scope::new("files"), namespace: "chandler".into() };
    decoder.decode(&SourceName::new("a.yaml"), "dir/a.yaml", text)
}

fn items(text: &str) -> Vec<Item> {
    decode(text.as_bytes()).unwrap().unwrap()
}

fn service(text: &str) -> Arc<Service> {
    match items(text).remove(0) {
        Item::Service(s) => s,
        other => panic!("{other:?}"),
    }
}

fn object(text: &str) -> Arc<Object> {
    match items(text).remove(0) {
        Item::Object(o) => o,
        other => panic!("{other:?}"),
    }
}

/// Key and reason of the only item.
fn refused(text: &str) -> (String, String) {
    match items(text).remove(0) {
        Item::Refused(key, why) => (key.to_string(), why.to_string()),
        other => panic!("{other:?}"),
    }
}

fn fault(text: &str) -> String {
    decode(text.as_bytes()).unwrap_err()
}

fn names(items: &[Item]) -> Vec<&str> {
    items.iter().map(|i| &*i.key().name).collect()
}

const FULL: &str = "services:
- name: billing
  hosts: [Billing.example.internal]
  ports: [{number: 8080, protocol: HTTP}, {number: 9090, name: rpc, protocol: grpc, targetPort: 19090}]
  endpoints:
  - {address: 10.0.0.5, labels: {version: 1.10}, locality: eu-west-1/eu-west-1a, weight: 10}
  - {address: 10.0.0.6, ports: {http-8080: 18080}, network: vpc2, serviceAccount: billing, tlsMode: istio}
  - {address: vm.example, port: 81, weight: 0.5}
  labels: {team: pay}
  annotations: {owner: somebody}
  namespace: pay
  protocol: TCP
  exportTo: [., pay]
  location: MESH_INTERNAL
  addresses: endpoints
  tlsMode: none
  subjectAltNames: [spiffe://a/b]
";

#[test]
fn every_key_of_a_plain_service_is_read() {
    let s = service(FULL);
    assert_eq!((&*s.key.name, s.key.kind, &*s.name), ("a.yaml#billing", ItemKind::Service, "billing"));
    assert_eq!(s.hosts[0].as_str(), "billing.example.internal");
    assert_eq!(
        (s.ports[0].number, s.ports[0].protocol, &s.ports[0].name),
        (8080, Some(Protocol::Http), &None)
    );
    assert_eq!((s.ports[1].target, s.ports[1].name.as_deref()), (Some(19090), Some("rpc")));
    let [a, b, c] = &s.endpoints[..] else { panic!() };
    assert_eq!(
        (a.labels.get("version"), a.locality.as_deref()),
        (Some("1.10"), Some("eu-west-1/eu-west-1a"))
    );
    assert_eq!((a.weight, &a.ports), (Weight::new(10.0).unwrap(), &EndpointPorts::AsService));
    assert_eq!(b.ports, EndpointPorts::Named([("http-8080".into(), 18080)].into()));
    assert_eq!((b.network.as_deref(), b.service_account.as_deref()), (Some("vpc2"), Some("billing")));
    assert_eq!(b.tls_mode, Some(TlsMode::Istio));
    assert_eq!((&c.address, &c.ports), (&Address::Name("vm.example".into()), &EndpointPorts::One(81)));
    assert_eq!(c.weight, Weight::new(0.5).unwrap());
    assert_eq!((s.labels.get("team"), s.annotations.get("owner")), (Some("pay"), Some("somebody")));
    let says = &s.says;
    assert_eq!((says.namespace.as_deref(), says.protocol), (Some("pay"), Some(Protocol::Tcp)));
    assert_eq!(says.export_to.as_deref(), Some(&[Arc::from("."), Arc::from("pay")][..]));
    assert_eq!((says.location, says.addresses), (Some(Location::MeshInternal), Some(Addresses::Endpoints)));
    assert_eq!((says.tls_mode, &*says.subject_alt_names[0]), (Some(TlsMode::None), "spiffe://a/b"));
}

#[test]
fn a_name_is_enough() {
    let s = service("services: [{name: 12}]");
    assert_eq!(&*s.name, "12");
    assert!(
        s.hosts.is_empty() && s.ports.is_empty() && s.endpoints.is_empty() && s.says == Default::default()
    );
}

/// What stands behind the name of a service, with `@` before what is wrong with it (absent: the service), and the reason.
const WRONG: [(&str, &str); 24] = [
    ("hosts: [@a_b.example]", "domain name \"a_b.example\" invalid (label \"a_b\" invalid)"),
    ("hosts: [@'*']", "invalid host *"),
    ("hosts: [a.b, A.b]", "host a.b already defined"),
    ("ports: [{number: @0}]", "expected a whole number from 1 to 65535, found the number 0"),
    ("ports: [{number: @65536}]", "expected a whole number from 1 to 65535, found the number 65536"),
    ("ports: [{number: @'80'}]", "expected a whole number from 1 to 65535, found the text \"80\""),
    ("ports: [{number: 80}, {number: 80}]", "port 80 already defined"),
    ("ports: [{number: 80, name: x}, {number: 81, name: x}]", "port name x already defined"),
    (
        "ports: [{number: 80, name: @X}]",
        "invalid port name: X; at most 63 lower-case letters, digits and inner hyphens",
    ),
    ("ports: [@{protocol: TCP}]", "`number` is missing"),
    ("ports: @80", "expected a list, found the number 80"),
    (
        "endpoints: [{address: @10.0.0.256}]",
        "endpoint address \"10.0.0.256\" is not a valid FQDN or an IP address: \
         domain name \"10.0.0.256\" invalid (top level domain \"256\" cannot be all-numeric)",
    ),
    ("endpoints: [{address: 10.0.0.1}, @{port: 80}]", "`address` is missing"),
    (
        "endpoints: [{address: ::1, weight: @-1}]",
        "expected a weight (a number, 0 or more), found the number -1",
    ),
    (
        "endpoints: [{address: ::1, weight: @'1'}]",
        "expected a weight (a number, 0 or more), found the text \"1\"",
    ),
    (
        "endpoints: [{address: ::1, port: 1, ports: @{a: 2}}]",
        "`port` and `ports` exclude each other: keep one of them",
    ),
    (
        "ports: [{number: 80, name: http}], endpoints: [{address: ::1, ports: {@htp: 2}}]",
        "the service has no port named `htp`: it has `http`",
    ),
    (
        "endpoints: [{address: ::1, locality: @a//b}]",
        "a locality is `region`, `region/zone` or `region/zone/subzone`",
    ),
    ("@adresses: none", "unknown key `adresses`: did you mean `addresses`?"),
    ("resolution: @DNS", "`resolution` follows from the addresses of the endpoints: leave it out"),
    ("location: @MESH", "expected `auto`, `MESH_INTERNAL` or `MESH_EXTERNAL`, found the text \"MESH\""),
    ("exportTo: [@Pay]", "only `.`, `*`, `~` or the name of a namespace is allowed in exportTo"),
    ("labels: {a: @[b]}", "expected text, found a list"),
    ("namespace: @a/b", "a namespace consists of at most 63 lower-case letters, digits and inner hyphens"),
];

#[test]
fn a_service_that_makes_no_sense_is_refused_alone_and_says_where() {
    for (rest, why) in WRONG {
        let line = format!("- {{name: x, {rest}}}");
        let column = line.find('@').map_or(3, |at| at + 1);
        let text = format!("services:\n{}\n- {{name: y}}\n", line.replacen('@', "", 1));
        let items = items(&text);
        assert_eq!(names(&items), ["a.yaml#x", "a.yaml#y"], "{rest}");
        let Item::Refused(_, said) = &items[0] else { panic!("{rest}: {:?}", items[0]) };
        assert_eq!(**said, format!("dir/a.yaml:2:{column}: {why}"));
        assert!(matches!(&items[1], Item::Service(_)), "{rest}");
    }
}

#[test]
fn an_unknown_protocol_is_named() {
    let (_, why) = refused("services: [{name: x, protocol: SCTP}]");
    assert!(why.starts_with("dir/a.yaml:1:32: unsupported protocol: SCTP; Istio knows"), "{why}");
}

#[test]
fn all_faults_of_a_service_are_said_at_once() {
    let (_, why) = refused("services:\n- name: x\n  hosts: ['*']\n  ports: [{number: 0}]\n  nmae: y\n");
    let places: Vec<&str> = why.split("; ").map(|f| f.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["dir/a.yaml:3:11", "dir/a.yaml:4:20", "dir/a.yaml:5:3"], "{why}");
}

#[test]
fn labels_that_istio_would_refuse_are_left_to_the_conversion() {
    let long = "x".repeat(70);
    let text = format!(
        "services: [{{name: x, labels: {{a b: {long}}}, endpoints: [{{address: ::1, labels: {{{long}: a}}}}]}}]"
    );
    let s = service(&text);
    assert_eq!(s.labels.get("a b"), Some(&*long));
    assert_eq!(s.endpoints[0].labels.get(&long), Some("a"));
}

#[test]
fn of_entries_with_one_name_the_first_counts_and_the_others_are_named() {
    let items = items("services: [{name: x, hosts: [a.b]}, {name: y}, {name: x}, {name: x}]");
    assert_eq!(names(&items), ["a.yaml#x", "a.yaml#x (2)", "a.yaml#x (3)", "a.yaml#y"]);
    assert!(matches!(&items[0], Item::Service(s) if s.hosts.len() == 1));
    assert!(
        matches!(&items[1], Item::Refused(_, why) if
        &**why == "dir/a.yaml:1:48: `x` stands in this file twice: the first one counts"),
        "{:?}",
        items[1]
    );
}

#[test]
fn where_it_cannot_be_told_what_is_meant_the_file_is_refused_whole() {
    for (text, why) in [
        ("services: [{name: x}, {hosts: [a.b]}]", "dir/a.yaml:1:23: `name` is missing"),
        ("services: [{name: x}, {name: ''}]", "dir/a.yaml:1:30: expected text, found an empty one"),
        (
            "services: [{name: x}, y]",
            "dir/a.yaml:1:23: expected a service (a map with a `name`), found the text \"y\"",
        ),
        ("services: {name: x}", "dir/a.yaml:1:11: expected a list, found a map"),
        ("services:", "dir/a.yaml:1:1: write `services: []` to say that there are none"),
        ("services: []\nservice: []", "dir/a.yaml:2:1: unknown key `service`: did you mean `services`?"),
        ("servics: []", "dir/a.yaml:1:1: unknown key `servics`: did you mean `services`?"),
        (
            "services: [{name: x, name: y}]",
            "dir/a.yaml:1:22: `name` stands here twice, first in line 1: keep one of them",
        ),
        ("services: [{name: x}\n", "dir/a.yaml:1:11: this `[` is never closed"),
        ("a: b: c", "dir/a.yaml:1:5: not valid YAML"),
        ("just text", "dir/a.yaml:1:1: expected a list under `services:`, or an Istio object"),
        ("services: [{name: x}]\n---\n{}", "dir/a.yaml:3:1: expected a list under `services:`"),
        ("{kind: ServiceEntry}", "dir/a.yaml:1:1: `metadata` is missing"),
        (
            "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {}}",
            "dir/a.yaml:1:68: `name` is missing",
        ),
    ] {
        let said = fault(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    assert_eq!(
        decode(b"services: [\xff]").unwrap_err(),
        "dir/a.yaml:1:12: not UTF-8: save the file as UTF-8 text"
    );
}

#[test]
fn a_file_in_which_nothing_is_written_says_nothing_and_an_empty_list_says_that_there_is_nothing() {
    for text in ["", "\n", "# a comment\n", "---\n", "---\n---\n"] {
        assert_eq!(decode(text.as_bytes()), Ok(None), "{text:?}");
    }
    assert_eq!(decode(b"services: []"), Ok(Some(vec![])));
    assert_eq!(names(&items("---\nservices: [{name: x}]\n---\n# nothing\n")), ["a.yaml#x"]);
}

const ENTRY: &str = "apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata:
  name: ext.example
  labels: {app: ext}
  annotations: {a: b, kubectl.kubernetes.io/last-applied-configuration: '{}'}
  creationTimestamp: null
  uid: x
spec:
  hosts: [Ext.example]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
status: {}
";

#[test]
fn an_istio_object_is_taken_as_it_is() {
    let o = object(&format!("# first\n{ENTRY}"));
    assert_eq!((&*o.key.name, o.key.kind), ("a.yaml#ServiceEntry/chandler/ext.example", ItemKind::Object));
    assert_eq!(
        (o.collection, &*o.namespace, &*o.name),
        (Collection::ServiceEntry, "chandler", "ext.example")
    );
    assert_eq!(o.labels.get("app"), Some("ext"));
    assert_eq!(o.annotations.iter().collect::<Vec<_>>(), [("a", "b")]);
    assert_eq!(o.hosts[0].as_str(), "ext.example");
    assert_eq!(&*o.origin, "dir/a.yaml:2");
    assert!(!o.body.is_empty());
}

#[test]
fn every_version_of_networking_is_read_and_a_workload_entry_claims_no_host() {
    for version in ["v1alpha3", "v1beta1", "v1"] {
        let text = format!(
            "{{apiVersion: networking.istio.io/{version}, kind: WorkloadEntry, \
             metadata: {{name: vm, namespace: pay}}, spec: {{address: 10.0.0.1}}}}"
        );
        let o = object(&text);
        assert_eq!((&*o.key.name, o.hosts.len()), ("a.yaml#WorkloadEntry/pay/vm", 0), "{version}");
    }
}

#[test]
fn kinds_that_are_not_served_are_refused_by_name() {
    for (api, kind) in [
        ("networking.istio.io/v1", "VirtualService"),
        ("v1", "ConfigMap"),
        ("networking.istio.io/v9", "ServiceEntry"),
    ] {
        let (key, why) =
            refused(&format!("{{apiVersion: {api}, kind: {kind}, metadata: {{name: x, namespace: n}}}}"));
        assert_eq!(key, format!("a.yaml#{kind}/n/x"));
        assert!(
            why.starts_with(&format!("dir/a.yaml:1:1: {api} {kind} is not available in this version")),
            "{why}"
        );
    }
}

#[test]
fn an_object_that_makes_no_sense_is_refused_alone_and_says_where() {
    for (from, to, why) in [
        ("resolution: DNS", "resolutoin: DNS", "dir/a.yaml:12:3: "),
        ("number: 443", "number: many", "dir/a.yaml:11:20: "),
        ("resolution: DNS", "resolution: MAGIC", "dir/a.yaml:12:15: "),
        ("Ext.example", "a_b.example", "invalid (label \"a_b\" invalid)"),
        ("name: ext.example", "name: Ext", "dir/a.yaml:4:9: an object's name consists of"),
        ("  uid: x", "  namespac: x", "dir/a.yaml:8:3: unknown key `namespac`: did you mean `namespace`?"),
        ("  uid: x", "  namespace: X", "dir/a.yaml:8:14: a namespace consists of"),
        ("labels: {app: ext}", "labels: [app]", "dir/a.yaml:5:11: expected a map"),
        ("status: {}", "stats: {}", "dir/a.yaml:13:1: unknown key `stats`: did you mean `status`?"),
    ] {
        let text = format!("{}---\nservices: [{{name: x}}]\n", ENTRY.replace(from, to));
        let items = items(&text);
        assert_eq!(items.len(), 2, "{to}");
        let said = items.iter().find_map(|i| if let Item::Refused(_, why) = i { Some(why) } else { None });
        assert!(said.unwrap().contains(why), "{to}: {said:?}");
    }
    let (_, why) = refused(ENTRY.split("spec:").next().unwrap());
    assert!(why.contains("`spec` is missing"), "{why}");
}

#[test]
fn lists_of_objects_are_opened() {
    let entry = "{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: N}, spec: {address: 1.1.1.1}}";
    let [a, b] = ["a", "b"].map(|n| entry.replace('N', n));
    for kind in ["List", "WorkloadEntryList"] {
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{}}, items: [{a}, {b}]}}");
        let items = items(&text);
        assert_eq!(names(&items), ["a.yaml#WorkloadEntry/chandler/a", "a.yaml#WorkloadEntry/chandler/b"]);
    }
}

#[test]
fn json_is_read_with_its_own_indentation_and_escapes() {
    let text = "{\n\t\"services\": [\n\t\t{\"name\": \"a\\u00e9\\/b\",\n\t\t\"labels\": {\"x\": \"\\ud83d\\ude00\"}}\n\t]\n}\n";
    let s = service(text);
    assert_eq!((&*s.name, s.labels.get("x")), ("aé/b", Some("😀")));
}

#[test]
fn a_list_is_read_however_deep_it_claims_to_be() {
    let deep = format!("{}{}", "{apiVersion: v1, kind: List, items: [".repeat(1000), "]}".repeat(1000));
    assert!(fault(&deep).contains("nested deeper"));
}

/// Pieces from which texts are put together that are nearly right.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "services:",
        "\n",
        "- ",
        "  ",
        "name: x",
        "hosts: [",
        "a.b",
        "*",
        "]",
        "ports:",
        "{",
        "}",
        "number: ",
        "80",
        "-1",
        "endpoints:",
        "address: ",
        "10.0.0.1",
        "weight: ",
        "1e999",
        ".nan",
        "apiVersion: ",
        "networking.istio.io/v1",
        "kind: ",
        "ServiceEntry",
        "List",
        "items:",
        "metadata:",
        "spec:",
        "---\n",
        "&a ",
        "*a",
        "<<: ",
        "null",
        "~",
        "\"",
        "'",
        ", ",
        "#",
        "labels: ",
        "\t",
        "\u{0}",
        "é",
        "!!str ",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|p| p.concat())
}

/// Keys are sorted and unique, whatever was read.
fn check(text: &[u8]) {
    if let Ok(Some(items)) = decode(text) {
        let keys: Vec<_> = items.iter().map(Item::key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn no_mixture_of_what_is_expected_panics_the_decoder(text in pieces()) {
        check(text.as_bytes());
    }

    #[test]
    fn no_damage_to_a_good_file_panics_the_decoder(
        at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = format!("{FULL}---\n{ENTRY}").into_bytes();
        let len = bytes.len();
        bytes[at.index(len)] = with;
        check(&bytes);
        check(&bytes[..cut.index(len)]);
    }
}
