use super::*;

/// What Dubbo 3.2.18 wrote.
const REAL: &str = r#"{"name":"greet-app","id":"192.0.2.2:32700","address":"192.0.2.2","port":32700,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"192.0.2.2:32700","name":"greet-app","metadata":{"dubbo.endpoints":"[{\"port\":32700,\"protocol\":\"dubbo\"},{\"port\":32701,\"protocol\":\"tri\"}]","dubbo.metadata-service.url-params":"{\"prefer.serialization\":\"fastjson2,hessian2\",\"version\":\"1.0.0\",\"dubbo\":\"2.0.2\",\"release\":\"3.2.18\",\"side\":\"provider\",\"port\":\"32701\",\"protocol\":\"tri\"}","dubbo.metadata.revision":"f29f3d3f98071d83d89bece8bde0c4e7","dubbo.metadata.storage-type":"local","timestamp":"1795266348064"}},"registrationTimeUTC":1795266348326,"serviceType":"DYNAMIC","uriSpec":null}"#;
/// What 2.7.23 wrote.
const OLD: &str = r#"{"name":"old-app","id":"192.0.2.2:32730","address":"192.0.2.2","port":32730,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":null,"name":"old-app","metadata":{"dubbo.metadata-service.url-params":"{\"dubbo\":{\"version\":\"1.0.0\",\"dubbo\":\"2.0.2\",\"release\":\"2.7.23\",\"port\":\"20880\"}}","dubbo.endpoints":"[{\"port\":32730,\"protocol\":\"dubbo\"}]","dubbo.metadata.storage-type":"local"}},"registrationTimeUTC":1795267257415,"serviceType":"DYNAMIC","uriSpec":null}"#;

fn instance(data: &str) -> Instance {
    match Read::of(data.as_bytes()) {
        Read::Instance(instance) => *instance,
        other => panic!("{data}: {other:?}"),
    }
}

/// An instance with this at the top and this metadata.
fn json(top: &str, metadata: &[(&str, &str)]) -> String {
    let metadata: Map<String, Value> =
        metadata.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
    let payload = format!(r#"{{"@class":"org.apache.dubbo.X","metadata":{}}}"#, Value::from(metadata));
    format!(r#"{{{top},"payload":{payload}}}"#)
}

#[test]
fn a_real_instance_says_its_ports_its_revision_and_who_tells_more() {
    let real = instance(REAL);
    assert_eq!(real.endpoints, [("dubbo".into(), 32700), ("tri".into(), 32701)]);
    assert_eq!(real.revision.as_deref(), Some("f29f3d3f98071d83d89bece8bde0c4e7"));
    let target = real.target.unwrap();
    assert_eq!((target.port, target.manner, &*target.version), (32701, Manner::Triple, "1.0.0"));
    assert!(real.params.is_empty(), "bookkeeping is no label: {:?}", real.params);
    let newer = REAL.replace(r#"\"version\":\"1.0.0\""#, r#"\"version\":\"2.0.0\""#);
    assert_eq!(instance(&newer).target.map(|t| t.manner), Some(Manner::Grpc));
    let remote = instance(&REAL.replace(r#""local""#, r#""remote""#));
    assert_eq!(remote.target, None, "the report has it");
    let old = instance(OLD);
    assert_eq!((old.revision, old.target.map(|t| (t.port, t.manner))), (None, Some((20880, Manner::Dubbo))));
}

#[test]
fn what_leaves_nowhere_to_call_is_left_out() {
    let top = r#""address":"10.0.0.1","port":1"#;
    for (text, words) in [
        (json(r#""address":"10.0.0.1","enabled":false,"port":1"#, &[]), "disabled"),
        (json(r#""address":"","port":1"#, &[]), "no host"),
        (json(r#""address":"a b","port":1"#, &[]), "neither an address nor a name"),
        (json(r#""address":"unix:///x","port":1"#, &[]), "neither an address nor a name"),
        (json(r#""address":"0.0.0.0","port":1"#, &[]), "every interface"),
        (json(r#""address":"10.0.0.1","port":0"#, &[]), "no port"),
        (json(r#""address":"10.0.0.1","port":99999"#, &[]), "no port"),
        (json(r#""address":"10.0.0.1","port":null"#, &[]), "no port"),
        (json(top, &[("dubbo.metadata.revision", "0")]), "provides nothing"),
        (json(top, &[("dubbo.endpoints", "{")]), "no list"),
        (json(top, &[("dubbo.endpoints", "[]")]), "no port"),
        (json(top, &[("dubbo.endpoints", r#"[{"port":0,"protocol":"dubbo"},{"port":70000},7]"#)]), "no port"),
        ("{".into(), "no JSON object"),
        ("[1]".into(), "no JSON object"),
        ("127.0.0.1".into(), "no JSON object"),
        (" ".repeat(300 * 1024), "larger than 256 KiB"),
    ] {
        let read = Read::of(text.as_bytes());
        assert!(matches!(read, Read::LeftOut(why) if why.contains(words)), "{text:.200}: {read:?}");
    }
}

#[test]
fn what_makes_no_sense_in_part_is_dropped_and_the_rest_stays() {
    let endpoints = r#"[{"port":1,"protocol":"dubbo"},{"port":99999,"protocol":"tri"},{"port":"2","protocol":"TRI"},{"port":3,"protocol":"a b"}]"#;
    let got = instance(&json(
        r#""address":"[2001:db8::1]","port":"x""#,
        &[
            ("dubbo.endpoints", endpoints),
            ("dubbo.metadata-service.url-params", "{"),
            ("zone", "z1"),
            ("dubbo.tag", "gray"),
            ("meta-v", "1.0.0"),
        ],
    ));
    assert_eq!(got.endpoints, [("dubbo".into(), 1), ("tri".into(), 2)]);
    assert!(got.odd.is_some_and(|why| why.contains("one of its ports")));
    assert_eq!(got.target, None);
    assert_eq!(got.params, [("dubbo.tag", "gray"), ("zone", "z1")].into_iter().collect());
    let [(id, bare), _] = got.bares(&"app".into()).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((&*id, &*bare.port_name, bare.port), ("dubbo://[2001:db8::1]:1/", "tcp-dubbo", 1));
    assert!(bare.is_bare());
}

#[test]
fn another_class_and_other_metadata_are_not_dubbos() {
    for payload in ["null", "7", r#"{"@class":"com.example.Unknown"}"#, r#"{"metadata":{"version":"1"}}"#] {
        let text = format!(r#"{{"address":"10.0.0.1","port":1,"payload":{payload}}}"#);
        assert_eq!(Read::of(text.as_bytes()), Read::Foreign, "{payload}");
    }
    let unknown = r#"{"address":"10.0.0.1","port":1,"payload":{"@class":"com.example.Mine","metadata":{"dubbo.metadata.revision":"x"}}}"#;
    assert_eq!(instance(unknown).endpoints, [("dubbo".into(), 1)], "by what it says, whatever the class");
}
