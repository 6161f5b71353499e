use super::*;
use crate::model::endpoint::Address;
use crate::registry::eureka::decode::decode;
use crate::registry::eureka::ledger::{Ledger, Names};

/// The item for `slot` of these instances of application `A`, JSON each.
fn made(names: Names, slot: &str, shape: &Shape, instances: &[&str]) -> Option<Item> {
    let text = format!(
        r#"{{"applications":{{"apps__hashcode":"","application":[{{"name":"A","instance":[{}]}}]}}}}"#,
        instances.join(",")
    );
    let (mut ledger, mut slots) = (Ledger::new(names), BTreeSet::new());
    for entry in decode(text.as_bytes()).unwrap().entries {
        ledger.put(entry.instance, &mut slots);
    }
    assert!(slots.contains(slot), "{slots:?}");
    Some(compose(&slot.into(), ledger.members(slot)?, shape, false))
}

fn service(shape: &Shape, instances: &[&str]) -> Arc<Service> {
    match made(Names::default(), "a", shape, instances) {
        Some(Item::Service(service)) => service,
        other => panic!("{other:?}"),
    }
}

fn ports(instances: &[&str]) -> Vec<EndpointPorts> {
    service(&Shape::default(), instances).endpoints.iter().map(|e| e.ports.clone()).collect()
}

fn named(list: &[(&str, u16)]) -> EndpointPorts {
    EndpointPorts::Named(list.iter().map(|(name, port)| (Arc::from(*name), *port)).collect())
}

const PLAIN: &str = r#"{"instanceId":"p","ipAddr":"10.0.0.1","status":"UP","port":{"$":8080,"@enabled":"true"},"securePort":{"$":443,"@enabled":"false"}}"#;
const BOTH: &str = r#"{"instanceId":"q","ipAddr":"10.0.0.2","status":"UP","port":{"$":8080,"@enabled":"true"},"securePort":{"$":8443,"@enabled":"true"}}"#;
const SECURE: &str = r#"{"instanceId":"s","ipAddr":"10.0.0.3","status":"UP","port":{"$":80,"@enabled":"false"},"securePort":{"$":8443,"@enabled":"true"}}"#;

#[test]
fn ports_are_those_that_are_enabled() {
    assert_eq!(ports(&[PLAIN]), [EndpointPorts::One(8080)]);
    assert_eq!(ports(&[BOTH]), [named(&[("http", 8080), ("https", 8443)])]);
    assert_eq!(ports(&[SECURE]), [named(&[("https", 8443)])]);
}

#[test]
fn a_port_that_only_some_instances_have_is_left_out_while_all_have_the_other() {
    assert_eq!(ports(&[PLAIN, BOTH]), [EndpointPorts::One(8080), EndpointPorts::One(8080)]);
    assert_eq!(ports(&[BOTH, SECURE]), [named(&[("https", 8443)]), named(&[("https", 8443)])]);
    assert_eq!(ports(&[PLAIN, SECURE]), [named(&[("http", 8080)]), named(&[("https", 8443)])]);
}

#[test]
fn a_secure_virtual_address_is_its_instances_secure_port() {
    let names = Names { app: false, vip: false, secure_vip: true };
    let with = |text: &str| text.replace("{\"instanceId\"", "{\"secureVipAddress\":\"vault\",\"instanceId\"");
    let all = [with(PLAIN), with(BOTH)];
    let made = made(names, "vault", &Shape::default(), &[&all[0], &all[1]]);
    let Some(Item::Service(service)) = made else { panic!("{made:?}") };
    assert_eq!(service.says.protocol, Some(Protocol::Https));
    assert_eq!(service.endpoints.iter().map(|e| &e.ports).collect::<Vec<_>>(), [&EndpointPorts::One(8443)]);
}

#[test]
fn an_instance_is_called_by_its_address_or_on_request_by_its_name() {
    let with = |ip: &str, host: &str| {
        format!(r#"{{"instanceId":"i","ipAddr":"{ip}","hostName":"{host}","status":"UP","port":80}}"#)
    };
    for (prefer, ip, host, want) in [
        (Prefer::Ip, "10.0.0.1", "one.example", "10.0.0.1"),
        (Prefer::Hostname, "10.0.0.1", "one.example", "one.example"),
        (Prefer::Hostname, "10.0.0.1", "not_legal", "10.0.0.1"),
        (Prefer::Ip, "unknown_", "one.example", "one.example"),
    ] {
        let shape = Shape { prefer, ..Shape::default() };
        let service = service(&shape, &[&with(ip, host)]);
        assert_eq!(service.endpoints[0].address, Address::parse(want).unwrap());
    }
}

#[test]
fn localities_come_from_metadata_then_from_the_cloud() {
    let with = |metadata: &str, zone: &str| {
        format!(
            r#"{{"instanceId":"i","ipAddr":"10.0.0.1","status":"UP","port":80,"metadata":{{{metadata}}},"dataCenterInfo":{{"name":"Amazon","metadata":{{"availability-zone":"{zone}"}}}}}}"#
        )
    };
    for (metadata, zone, region, want) in [
        ("", "us-east-1c", None, Some("us-east-1/us-east-1c")),
        ("", "us-west-2-lax-1a", None, Some("us-west-2/us-west-2-lax-1a")),
        ("", "us-gov-west-1a", Some("eu"), Some("us-gov-west-1/us-gov-west-1a")),
        (r#""zone":"z1""#, "us-east-1c", None, Some("z1")),
        (r#""zone":"z1""#, "", Some("eu"), Some("eu/z1")),
        (r#""zone":"z1","region":"asia""#, "", Some("eu"), Some("asia/z1")),
        (r#""region":"asia""#, "", None, Some("asia")),
        (r#""zone":" rack/4 b*""#, "", Some("eu"), Some("eu/rack-4-b-")),
        (r#""zone":"rack-a-1b""#, "", None, Some("rack-a-1b")),
        ("", "", Some("eu"), Some("eu")),
        ("", "", None, None),
    ] {
        let shape = Shape { region: region.map(Into::into), ..Shape::default() };
        let service = service(&shape, &[&with(metadata, zone)]);
        assert_eq!(service.endpoints[0].locality.as_deref(), want, "{metadata} {zone} {region:?}");
    }
}

#[test]
fn metadata_are_the_labels_of_the_endpoint() {
    let all = r#"{"instanceId":"i","ipAddr":"10.0.0.1","status":"UP","port":80,"metadata":{"version":"v1","@class":"x","management.port":8081}}"#;
    let service = service(&Shape::default(), &[all]);
    let labels: Vec<_> = service.endpoints[0].labels.iter().collect();
    assert_eq!(labels, [("management.port", "8081"), ("version", "v1")]);
}

#[test]
fn metadata_of_64_kib_make_no_instance_senseless_and_touch_no_neighbour() {
    let long = "x".repeat(64 << 10);
    let with = |id: &str, metadata: &str| {
        format!(
            r#"{{"instanceId":"{id}","ipAddr":"10.0.0.1","status":"UP","port":80,"metadata":{{{metadata}}}}}"#
        )
    };
    let all = [with("i", &format!(r#""note":"{long}","version":"v1""#)), with("j", r#""version":"v2""#)];
    let service = service(&Shape::default(), &[&all[0], &all[1]]);
    let of = |n: usize, key: &str| service.endpoints[n].labels.get(key).map(str::len);
    assert_eq!(
        (of(0, "note"), of(0, "version"), of(1, "note"), of(1, "version")),
        (Some(64 << 10), Some(2), None, Some(2))
    );
    // What the mesh gets of it is a label like any other.
    let rules = crate::convert::mapping::LabelRules::default();
    let applied = rules.apply(&service.endpoints[0].labels);
    assert!(applied.iter().all(|(key, value)| key.len() <= 317 && value.len() <= 63), "{applied:?}");
    assert_eq!(applied.get("version"), Some("v1"));
}

#[test]
fn a_name_is_spelt_as_the_first_in_order_does_whoever_came_first() {
    let names = Names { app: false, vip: true, secure_vip: false };
    let with = |id: u32, vip: &str| {
        format!(r#"{{"instanceId":"{id}","ipAddr":"10.0.0.1","status":"UP","port":80,"vipAddress":"{vip}"}}"#)
    };
    for order in [["Shop", "shop"], ["shop", "Shop"]] {
        let all = [with(1, order[0]), with(2, order[1])];
        let made = made(names, "shop", &Shape::default(), &[&all[0], &all[1]]).unwrap();
        assert_eq!(&*made.key().name, "Shop");
    }
}
