use super::*;
use crate::convert::fixtures::{mapping, service};
use crate::model::labels::Labels;

const ALLOWED: [&str; 4] = ["service", "datacenter", "group?", "version"];

fn template(text: &str) -> Template {
    Template::parse(text, &ALLOWED).unwrap()
}

fn expand(text: &str, name: &str, variables: &[(&str, &str)]) -> Result<String, NamingError> {
    let mut s = service(name);
    s.variables = variables.iter().copied().collect();
    template(text).expand(&s)
}

fn templated_host(text: &str, name: &str) -> Result<Vec<Host>, NamingError> {
    let mut m = mapping();
    m.hosts = vec![template(text)];
    hosts(&service(name), &[], &m)
}

#[test]
fn an_unknown_placeholder_is_refused_with_what_was_meant_and_what_there_is() {
    let e = Template::parse("{service}.{datacentre}.x", &ALLOWED).unwrap_err();
    assert_eq!(
        e.to_string(),
        "unknown placeholder {datacentre} at character 11: did you mean {datacenter}? \
         There is {service}, {datacenter}, {group}, {version}"
    );
    let e = Template::parse("{pod}", &["service"]).unwrap_err();
    assert_eq!(e.to_string(), "unknown placeholder {pod} at character 1. There is {service}");
}

#[test]
fn unbalanced_braces_are_refused_with_their_column() {
    assert_eq!(Template::parse("ab{service", &ALLOWED), Err(TemplateError::Unclosed { column: 3 }));
    assert_eq!(Template::parse("{service{x}}", &ALLOWED), Err(TemplateError::Unclosed { column: 1 }));
    assert_eq!(Template::parse("{service}}.x", &ALLOWED), Err(TemplateError::Unopened { column: 10 }));
    assert!(matches!(Template::parse("a.{}", &ALLOWED), Err(TemplateError::Nameless { column: 3, .. })));
    assert_eq!(Template::parse("", &ALLOWED), Err(TemplateError::Empty));
}

#[test]
fn an_absent_optional_value_vanishes_with_one_dot() {
    let t = "{service}.{group?}.{version?}.dubbo";
    assert_eq!(expand(t, "a", &[("group", "g"), ("version", "1")]).unwrap(), "a.g.1.dubbo");
    assert_eq!(expand(t, "a", &[("version", "1")]).unwrap(), "a.1.dubbo");
    assert_eq!(expand(t, "a", &[]).unwrap(), "a.dubbo");
    assert_eq!(expand("{group?}.{service}", "a", &[]).unwrap(), "a");
    assert_eq!(expand("{service}.{group?}", "a", &[]).unwrap(), "a");
    assert_eq!(expand("v{version?}.{service}", "a", &[]).unwrap(), "v.a");
    assert_eq!(expand("{service}{group?}.x", "a", &[]).unwrap(), "a.x");
}

#[test]
fn an_absent_value_that_is_needed_is_an_error_that_says_what_to_write() {
    let e = expand("{service}.{datacenter}", "a", &[]).unwrap_err();
    assert!(e.to_string().contains("write {datacenter?}"), "{e}");
}

#[test]
fn a_registrys_own_hosts_win_over_templates() {
    let mut s = service("web");
    s.hosts = vec![Host::parse("b.example").unwrap(), Host::parse("a.example").unwrap()];
    let found = hosts(&s, &[], &mapping()).unwrap();
    assert_eq!(found.iter().map(Host::as_str).collect::<Vec<_>>(), ["a.example", "b.example"]);
}

#[test]
fn templated_hosts_are_made_legal() {
    for (name, host) in [
        ("Order_Service", "order-service.test"),
        ("a__b::c", "a-b-c.test"),
        ("com.Foo$Bar", "com.foo-bar.test"),
        ("-x-", "x.test"),
        ("a..b", "a.b.test"),
        ("*.evil", "evil.test"),
        ("a/b c", "a-b-c.test"),
    ] {
        assert_eq!(templated_host("{service}.test", name).unwrap()[0].as_str(), host, "{name}");
    }
}

#[test]
fn a_name_in_another_script_keeps_a_host_of_its_own() {
    let (a, b) = (templated_host("{service}.t", "订单"), templated_host("{service}.t", "支付"));
    assert_ne!(a.as_ref().unwrap(), b.as_ref().unwrap());
    assert!(a.unwrap()[0].as_str().starts_with("x-"));
}

#[test]
fn what_is_too_long_is_shortened_with_a_hash_that_keeps_it_apart() {
    let (a, b) = ("a".repeat(64) + "1", "a".repeat(64) + "2");
    let (ha, hb) = (templated_host("{service}.t", &a).unwrap(), templated_host("{service}.t", &b).unwrap());
    assert_ne!(ha, hb);
    assert_eq!(ha[0].as_str().len(), 63 + 2);
    let exact = "a".repeat(63);
    assert_eq!(templated_host("{service}.t", &exact).unwrap()[0].as_str(), format!("{exact}.t"));
    let many = ["abcdefgh"; 40].join(".");
    let long = templated_host("{service}.service.consul", &many).unwrap();
    assert!(long[0].as_str().len() <= 255);
    assert!(long[0].as_str().ends_with(".abcdefgh.service.consul"));
}

#[test]
fn a_wildcard_comes_from_the_template_only() {
    assert_eq!(templated_host("*.{service}.t", "a").unwrap()[0].as_str(), "*.a.t");
}

#[test]
fn a_template_that_cannot_make_a_host_is_named() {
    let e = templated_host("{service}", "1234").unwrap_err();
    assert!(matches!(e, NamingError::Host { reason: HostError::NumericTld { .. }, .. }), "{e}");
    let e = templated_host("{service}", "___").unwrap_err();
    assert!(e.to_string().contains("map.hosts"), "{e}");
}

#[test]
fn a_service_without_any_name_is_told_what_to_write() {
    let mut m = mapping();
    m.hosts.clear();
    let e = hosts(&service("web"), &[], &m).unwrap_err().to_string();
    assert!(e.contains("`hosts`") && e.contains("{service}.example"), "{e}");
}

#[test]
fn a_namespace_is_one_legal_label() {
    let (mut s, mut m) = (service("web"), mapping());
    assert_eq!(&*namespace(&s, &m).unwrap(), "chandler");
    m.namespace = template("{datacenter}_X");
    s.variables = [("datacenter", "eu.west")].into_iter().collect::<Labels>();
    assert_eq!(&*namespace(&s, &m).unwrap(), "eu-west-x");
    s.says.namespace = Some("Not_Legal".into());
    assert!(matches!(namespace(&s, &m), Err(NamingError::Namespace { .. })));
    s.says.namespace = Some("pay".into());
    assert_eq!(&*namespace(&s, &m).unwrap(), "pay");
}

#[test]
fn resources_are_called_like_their_hosts_and_no_two_share_a_name() {
    let name = |h: &str| resource_name("ns", &Host::parse(h).unwrap()).as_str().to_owned();
    assert_eq!(name("web.example"), "ns/web.example");
    assert_eq!(name("*.example"), "ns/wildcard.example.0");
    let all = ["*.example", "*-a.example", "*a.example", "wildcard.example", "wildcard-a.example"];
    let names: std::collections::BTreeSet<String> = all.iter().map(|h| name(h)).collect();
    assert_eq!(names.len(), all.len());
    let long = ["abcdefg"; 31].join(".") + ".abcdef";
    assert_eq!((long.len(), name(&long).len() <= 3 + 253), (254, true));
    assert!(name(&long).split('/').count() == 2);
}
