use proptest::prelude::*;

use super::*;
use crate::model::endpoint::Address;
use crate::registry::eureka::instance::{Action, Entry, Facts, Status};

fn golden(name: &str) -> Vec<u8> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eureka/samples");
    std::fs::read(dir.join(name)).unwrap()
}

fn json(instances: &str) -> Applications {
    let text = format!(
        r#"{{"applications":{{"apps__hashcode":"","application":[{{"name":"A","instance":{instances}}}]}}}}"#
    );
    decode(text.as_bytes()).unwrap()
}

fn only(read: &Applications) -> &Entry {
    assert_eq!(read.entries.len(), 1, "{read:?}");
    &read.entries[0]
}

fn facts(read: &Applications) -> &Facts {
    only(read).instance.facts.as_ref().unwrap()
}

#[test]
fn what_a_real_server_answers_means_the_same_in_json_and_in_xml() {
    for (name, entries) in [("apps", 3), ("delta", 3)] {
        let from_json = decode(&golden(&format!("{name}.json"))).unwrap();
        let from_xml = decode(&golden(&format!("{name}.xml"))).unwrap();
        assert_eq!(from_json, from_xml);
        assert_eq!(from_json.entries.len(), entries);
        assert_eq!(from_json.hash.as_deref(), Some("STARTING_1_UP_2_"));
    }
}

#[test]
fn a_real_instance_is_read_whole() {
    let read = decode(&golden("apps.json")).unwrap();
    let first = &read.entries[0];
    assert_eq!((&*first.instance.app, &*first.instance.key.id), ("ORDERS", "10.0.0.1:orders:8080"));
    assert_eq!(&*first.instance.key.app, "orders");
    assert_eq!(first.instance.status, Status::Up);
    assert_eq!(first.action, Action::Put);
    assert_eq!((first.lease.since, first.lease.until), (1_795_265_039_140, 1_795_265_129_140));
    let facts = first.instance.facts.as_ref().unwrap();
    assert_eq!(facts.ip, Some(Address::parse("10.0.0.1").unwrap()));
    assert_eq!((facts.plain, facts.secure), (Some(8080), None));
    assert_eq!(facts.metadata.iter().collect::<Vec<_>>(), [("version", "v1"), ("zone", "z1")]);
    assert_eq!(&*first.instance.vips, ["orders".into()]);
    assert!(first.instance.secure_vips.is_empty());
    assert_eq!(read.entries[2].instance.status, Status::Starting);
}

#[test]
fn an_empty_registry_is_an_answer() {
    let json = br#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#;
    let xml = b"<applications>\n  <versions__delta>1</versions__delta>\n  <apps__hashcode></apps__hashcode>\n</applications>";
    let closed = b"<?xml version=\"1.0\"?><applications><apps__hashcode/></applications>";
    for body in [&json[..], xml, closed] {
        assert_eq!(decode(body).unwrap(), Applications { hash: Some("".into()), ..Applications::default() });
    }
}

#[test]
fn one_element_may_stand_in_place_of_a_list() {
    let text = r#"{"applications":{"apps__hashcode":"UP_1_","application":{"name":"A","instance":{"instanceId":"i","ipAddr":"10.0.0.1","status":"UP","port":{"$":"8080","@enabled":true}}}}}"#;
    let read = decode(text.as_bytes()).unwrap();
    assert_eq!(facts(&read).plain, Some(8080));
    assert_eq!(only(&read).instance.status, Status::Up);
}

#[test]
fn ports_are_read_in_every_form_and_counted_only_if_enabled() {
    for (port, secure, want) in [
        (r#"{"$":8080,"@enabled":"true"}"#, r#"{"$":443,"@enabled":"false"}"#, (Some(8080), None)),
        (r#"{"$":"8080","@enabled":true}"#, r#"{"$":"8443","@enabled":"TRUE"}"#, (Some(8080), Some(8443))),
        (r#"{"@enabled":"false","$":80}"#, r#"{"$":8443,"@enabled":"true"}"#, (None, Some(8443))),
        ("8080", "8443", (Some(8080), None)),
        (r#""8080""#, "null", (Some(8080), None)),
        (r#"{"$":8080}"#, "{}", (Some(8080), None)),
        // One port that makes sense is enough.
        (r#"{"$":0,"@enabled":"true"}"#, r#"{"$":8443,"@enabled":"true"}"#, (None, Some(8443))),
    ] {
        let read = json(&format!(
            r#"[{{"instanceId":"i","ipAddr":"10.0.0.1","port":{port},"securePort":{secure}}}]"#
        ));
        let facts = facts(&read);
        assert_eq!((facts.plain, facts.secure), want, "{port} {secure}");
    }
}

#[test]
fn both_spellings_of_the_override_are_read() {
    for key in ["overriddenStatus", "overriddenstatus"] {
        let read = json(&format!(
            r#"[{{"instanceId":"i","ipAddr":"10.0.0.1","port":1,"status":"UP","{key}":"OUT_OF_SERVICE"}}]"#
        ));
        assert_eq!(only(&read).instance.effective_status(), Status::OutOfService);
    }
}

#[test]
fn an_instance_without_an_id_is_known_as_its_server_knows_it() {
    for (fields, id) in [
        (r#""hostName":"h","ipAddr":"10.0.0.1""#, "h"),
        (r#""instanceId":"","hostName":"h","ipAddr":"10.0.0.1""#, "h"),
        (r#""ipAddr":"10.0.0.1""#, "10.0.0.1"),
        (
            r#""hostName":"h","dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":"i-0a1","availability-zone":"us-east-1c"}}"#,
            "i-0a1",
        ),
    ] {
        assert_eq!(&*only(&json(&format!(r#"[{{{fields},"port":80}}]"#))).instance.key.id, id);
    }
}

#[test]
fn the_zone_of_a_cloud_and_the_metadata_are_read_without_javas_own() {
    let read = json(
        r#"[{"instanceId":"i","hostName":"ip-10-0-0-5","ipAddr":"10.0.0.5","port":{"$":7001,"@enabled":"true"},
            "dataCenterInfo":{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{"availability-zone":"us-east-1c"}},
            "metadata":{"@class":"java.util.Collections$EmptyMap","weight":3,"flag":true,"none":null,"deep":{"a":1},"list":[1]},
            "vipAddress":"order, Order,pay","secureVipAddress":",, s "}]"#,
    );
    let facts = facts(&read);
    assert_eq!(facts.cloud_zone.as_deref(), Some("us-east-1c"));
    assert_eq!(facts.metadata.iter().collect::<Vec<_>>(), [("flag", "true"), ("weight", "3")]);
    assert_eq!(&*only(&read).instance.vips, ["order".into(), "pay".into()]);
    assert_eq!(&*only(&read).instance.secure_vips, ["s".into()]);
}

#[test]
fn an_instance_that_makes_no_sense_is_kept_with_its_fault_and_still_counts() {
    for (fields, why) in [
        (
            r#""ipAddr":"10.0.0.1","port":{"$":0,"@enabled":"true"}"#,
            "its `port` is 0: nothing can listen there",
        ),
        (r#""ipAddr":"10.0.0.1","port":70000"#, "its `port` \"70000\" is no port"),
        (
            r#""ipAddr":"10.0.0.1","port":{"$":8080,"@enabled":"false"}"#,
            "neither its port nor its secure port is enabled",
        ),
        (r#""ipAddr":"10.0.0.1""#, "neither its port nor its secure port is enabled"),
        (r#""port":8080"#, "it has neither `ipAddr` nor `hostName`"),
        (r#""ipAddr":"a_b c","port":8080"#, "its address \"a_b c\" is neither an IP nor a legal host name"),
        (
            r#""ipAddr":"0.0.0.0","port":8080"#,
            "its address \"0.0.0.0\" is neither an IP nor a legal host name",
        ),
        (r#""ipAddr":{"x":[1]},"port":8080"#, "it has neither `ipAddr` nor `hostName`"),
    ] {
        let read = json(&format!(
            r#"[{{"instanceId":"good","ipAddr":"10.0.0.2","port":80}},{{"instanceId":"bad","status":"UP",{fields}}},{{"instanceId":"other","ipAddr":"10.0.0.3","port":80}}]"#
        ));
        let said: Vec<_> =
            read.entries.iter().map(|e| e.instance.facts.as_ref().err().map(|e| &**e)).collect();
        assert_eq!(said, [None, Some(why), None]);
        assert_eq!(read.entries[1].instance.status, Status::Up);
    }
}

#[test]
fn an_address_that_is_a_host_name_or_of_version_6_is_one() {
    for (ip, host, want) in [
        ("2001:db8::1", "h", (true, true)),
        ("orders.example", "", (true, false)),
        ("", "orders.example", (false, true)),
        ("not_legal", "orders.example", (false, true)),
    ] {
        let read = json(&format!(r#"[{{"instanceId":"i","ipAddr":"{ip}","hostName":"{host}","port":80}}]"#));
        let facts = facts(&read);
        assert_eq!((facts.ip.is_some(), facts.host.is_some()), want, "{ip} {host}");
    }
}

#[test]
fn what_is_no_instance_is_named_by_its_application() {
    let read =
        json(r#"[null, 5, "x", [], {}, {"status":"UP"}, {"instanceId":"i","ipAddr":"10.0.0.1","port":80}]"#);
    assert_eq!(read.nameless, vec!["A".into(); 6]);
    assert_eq!(read.entries.len(), 1);
}

#[test]
fn what_is_not_eurekas_is_refused_with_words() {
    for (body, words) in [
        ("", "nothing was answered"),
        ("<!doctype html><html><body>Login</body></html>", "XML that begins with <html>"),
        ("<html></html>", "XML that begins with <html>"),
        (r#"{"timestamp":"x","status":404}"#, "JSON without `applications`"),
        (r#"{"applications":null}"#, "neither instances nor a hash code"),
        (r#"{"applications":{}}"#, "neither instances nor a hash code"),
        (r#"{"applications":{"apps__hashcode":"","application":[{"name":"A""#, "JSON that breaks off"),
        (r#"{"applications":{"apps__hashcode":""}} x"#, "no JSON"),
        ("pong", "no JSON"),
        ("<applications><application>", "XML that breaks off"),
        ("<applications><a></applications>", "no XML"),
        ("   ", "nothing was answered"),
    ] {
        let said = decode(body.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(words), "{body}: {said}");
    }
    let deep = format!("<applications>{}", "<a>".repeat(100));
    assert!(decode(deep.as_bytes()).unwrap_err().to_string().contains("nested"));
    let deep = format!("{{\"x\":{}", "[".repeat(10_000));
    assert!(decode(deep.as_bytes()).is_err());
}

#[test]
fn any_part_of_an_answer_is_no_answer() {
    for name in ["apps.json", "apps.xml"] {
        let whole = golden(name);
        let end = whole.trim_ascii_end().len();
        for cut in 0..end {
            assert!(decode(&whole[..cut]).is_err(), "{name} cut at {cut} of {end}");
        }
    }
}

#[test]
fn entities_are_text_and_expand_to_no_more_than_themselves() {
    let xml = "<!DOCTYPE x [<!ENTITY big 'aaaa'>]><applications><apps__hashcode>UP_1_</apps__hashcode><application><name>A&amp;B</name>\
        <instance><instanceId>i&#58;1</instanceId><ipAddr>10.0.0.1</ipAddr><port>80</port>\
        <metadata><q><![CDATA[<x>]]></q><b>&big;</b></metadata></instance></application></applications>";
    let read = decode(xml.as_bytes()).unwrap();
    let entry = only(&read);
    assert_eq!((&*entry.instance.app, &*entry.instance.key.id), ("A&B", "i:1"));
    assert_eq!(facts(&read).metadata.iter().collect::<Vec<_>>(), [("b", "&big;"), ("q", "<x>")]);
}

#[test]
fn metadata_keys_that_are_no_names_in_xml_are_unescaped() {
    for (name, key) in [
        ("a__b", "a_b"),
        ("a____b", "a__b"),
        ("_-x", "$x"),
        ("a_.0020b", "a b"),
        ("_.0031x", "1x"),
        ("a_.002fb", "a/b"),
        ("a.b-c", "a.b-c"),
        // As nobody escapes them.
        ("a_b", "a_b"),
        ("a_", "a_"),
        ("a_.zzzz", "a_.zzzz"),
        ("a_.00", "a_.00"),
    ] {
        let xml = format!(
            "<applications><application><name>A</name><instance><instanceId>i</instanceId><ipAddr>10.0.0.1</ipAddr><port>80</port><metadata><{name}>v</{name}></metadata></instance></application></applications>"
        );
        let read = decode(xml.as_bytes()).unwrap();
        assert_eq!(facts(&read).metadata.iter().collect::<Vec<_>>(), [(key, "v")], "{name}");
    }
}

#[test]
fn an_eviction_is_told_from_a_deregistration_by_the_lease() {
    let deleted = |renewed: u64, evicted: u64| {
        let read = json(&format!(
            r#"[{{"instanceId":"i","ipAddr":"10.0.0.1","port":80,"actionType":"DELETED","leaseInfo":{{"durationInSecs":"90","lastRenewalTimestamp":{renewed},"evictionTimestamp":{evicted}}}}}]"#
        ));
        assert_eq!(only(&read).action, Action::Delete);
        only(&read).lease.expired()
    };
    assert!(deleted(1_000_000, 1_090_001));
    assert!(!deleted(1_000_000, 1_090_000));
    assert!(!deleted(1_000_000, 0));
    assert!(!deleted(0, 1_090_001));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_damage_to_a_real_answer_panics(at in 0usize..2300, with in any::<u8>(), xml in any::<bool>()) {
        let mut body = golden(if xml { "apps.xml" } else { "apps.json" });
        body[at] = with;
        if let Ok(read) = decode(&body) {
            prop_assert!(read.entries.len() + read.nameless.len() <= 3);
        }
    }

    #[test]
    fn any_json_in_an_instances_place_leaves_its_neighbours_as_they_are(text in "[a-zA-Z0-9_ .:,-]{0,12}", depth in 0usize..20, list in any::<bool>()) {
        let (open, close) = if list { ("[", "]") } else { (r#"{"ipAddr":"#, "}") };
        let value = format!("{}{}{}", open.repeat(depth), serde_json::to_string(&text).unwrap(), close.repeat(depth));
        let read = json(&format!(r#"[{{"instanceId":"i","ipAddr":"10.0.0.1","port":80}},{value}]"#));
        prop_assert_eq!(&*read.entries[0].instance.key.id, "i");
        prop_assert!(read.entries[0].instance.facts.is_ok());
        prop_assert_eq!(read.entries.len() + read.nameless.len(), 2);
    }
}
