use super::*;
use crate::convert::fixtures::{endpoint, mapping, service};
use crate::convert::mapping::Globs;
use crate::convert::naming::Template;
use crate::convert::policy::{Exception, Fate};
use crate::convert::select::Rule;
use crate::convert::self_service::Say;

fn instance(tags: &[&str], labels: &[(&str, &str)]) -> Endpoint {
    let (tags, labels) = (tags.iter().copied().collect(), labels.iter().copied().collect());
    Endpoint { tags, labels, ..endpoint("10.0.0.1", 80) }
}

fn of(endpoints: Vec<Endpoint>) -> Service {
    Service { endpoints, ..service("web") }
}

fn tagged(pattern: &str) -> Vec<Rule> {
    vec![Rule { tag: Some(Globs::new(vec![pattern.into()]).unwrap()), ..Rule::default() }]
}

fn hosts(admitted: &Admitted) -> Vec<&str> {
    admitted.hosts.iter().map(|h| h.as_str()).collect()
}

fn first(service: &Service, policy: &Policy) -> Admitted {
    after(service, policy, None, 0)
}

fn after(service: &Service, policy: &Policy, last: Option<(&Service, &Admitted)>, seconds: u64) -> Admitted {
    let last = last.map(|(service, admitted)| Last { service, admitted });
    admit(service, policy, last, at(seconds)).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::after_start(Duration::from_secs(seconds))
}

/// What becomes of a service whose instances change: the reason for which it is out, step by step.
fn follow(policy: &Policy, steps: &[&Service]) -> Vec<Option<Reason>> {
    let mut last: Option<(&Service, Admitted)> = None;
    let mut out = Vec::new();
    for step in steps {
        let next = after(step, policy, last.as_ref().map(|(s, a)| (*s, a)), 0);
        out.push(next.left_out);
        last = Some((step, next));
    }
    out
}

#[test]
fn one_instance_that_is_taken_takes_its_service() {
    let mut policy = Policy::from(mapping());
    policy.select.include = tagged("mesh");
    let mixed = of(vec![instance(&[], &[]), instance(&["mesh"], &[])]);
    let admitted = first(&mixed, &policy);
    assert_eq!((hosts(&admitted), admitted.left_out), (vec!["web.test"], None));
    let door = Door::new(&mixed, &policy.select, &policy.map);
    assert_eq!(door.refuses(Some(&mixed.endpoints[0])), Some(Reason::NotIncluded));
    assert_eq!(door.refuses(Some(&mixed.endpoints[1])), None);
    let none = first(&of(vec![instance(&[], &[])]), &policy);
    assert_eq!((hosts(&none), none.left_out), (vec![], Some(Reason::NotIncluded)));
}

#[test]
fn without_instances_the_last_decision_stays() {
    let mut policy = Policy::from(mapping());
    policy.select.include = tagged("mesh");
    let (yes, no, empty) = (of(vec![instance(&["mesh"], &[])]), of(vec![instance(&[], &[])]), of(vec![]));
    let out = Some(Reason::NotIncluded);
    assert_eq!(follow(&policy, &[&empty, &yes, &empty, &yes]), [out, None, None, None]);
    assert_eq!(follow(&policy, &[&yes, &no, &empty, &yes]), [None, out, out, None]);
    let skipped = of(vec![instance(&[], &[("chandler-skip", "true")])]);
    let everything = Policy::from(mapping());
    let out = Some(Reason::Skipped);
    assert_eq!(follow(&everything, &[&skipped, &empty, &skipped]), [out, out, out]);
}

#[test]
fn a_service_whose_only_taken_instance_restarts_stays_for_a_while() {
    let mut policy = Policy::from(mapping());
    policy.select.include = tagged("mesh");
    let named = |id: &str, tags: &[&str]| Endpoint { id: id.into(), ..instance(tags, &[]) };
    let both = of(vec![named("a", &["mesh"]), named("b", &[])]);
    let (other, empty) = (of(vec![named("b", &[])]), of(vec![]));
    let taken = first(&both, &policy);
    let alone = after(&other, &policy, Some((&both, &taken)), 100);
    assert_eq!((hosts(&alone), alone.until), (vec!["web.test"], Some(at(700))));
    // The last one going as well does not make it longer, nor shorter.
    let none = after(&empty, &policy, Some((&other, &alone)), 200);
    assert_eq!((none.left_out, none.until), (None, Some(at(700))));
    let again = after(&other, &policy, Some((&empty, &none)), 300);
    assert_eq!((again.left_out, again.until), (None, Some(at(700))));
    let over = after(&other, &policy, Some((&other, &again)), 700);
    assert_eq!((over.left_out, over.until), (Some(Reason::NotIncluded), None));
    let back = after(&both, &policy, Some((&other, &again)), 300);
    assert_eq!((back.left_out, back.until), (None, None));
    // Whoever is still there and changed its mind is believed at once.
    let changed = of(vec![named("a", &[]), named("b", &[])]);
    let out = after(&changed, &policy, Some((&both, &taken)), 100);
    assert_eq!((out.left_out, out.until), (Some(Reason::NotIncluded), None));
}

#[test]
fn an_owner_skips_an_instance_or_the_service() {
    let policy = Policy::from(mapping());
    let skip = || instance(&[], &[("chandler-skip", "true")]);
    assert_eq!(first(&of(vec![skip(), instance(&[], &[])]), &policy).left_out, None);
    assert_eq!(first(&of(vec![skip(), skip()]), &policy).left_out, Some(Reason::Skipped));
    let mut whole = of(vec![instance(&[], &[])]);
    whole.labels = [("chandler-skip", "true")].into_iter().collect();
    assert_eq!(first(&whole, &policy).left_out, Some(Reason::Skipped));
    whole.endpoints.clear();
    let taken = Admitted::claiming(Vec::new());
    assert_eq!(after(&whole, &policy, Some((&whole, &taken)), 0).left_out, Some(Reason::Skipped));
}

#[test]
fn where_exposure_must_be_said_silence_is_no() {
    let mut policy = Policy::from(mapping());
    policy.select.exposed_by_default = false;
    let says = |word: &str| of(vec![instance(&[], &[("chandler-skip", word)])]);
    let left_out = |s: &Service| first(s, &policy).left_out;
    assert_eq!(left_out(&says("false")), None);
    assert_eq!(left_out(&says("true")), Some(Reason::Skipped));
    assert_eq!(left_out(&of(vec![instance(&[], &[])])), Some(Reason::NotExposed));
    assert_eq!(left_out(&says("perhaps")), Some(Reason::NotExposed));
}

#[test]
fn an_exception_drops_a_service_or_gives_it_more_hosts() {
    let alias = |t: &str| Template::parse(t, &["service"]).unwrap();
    let aliased = Mapping { aliases: vec![alias("{service}.old"), alias("web.test")], ..mapping() };
    let exception =
        |name: &str, fate| Exception { names: Globs::new(vec![name.into()]).unwrap(), fate, guard: None };
    let exceptions =
        vec![exception("test-*", Fate::Dropped), exception("web", Fate::Mapped(Box::new(aliased)))];
    let policy = Policy { exceptions, ..Policy::from(mapping()) };
    assert_eq!(hosts(&first(&service("web"), &policy)), ["web.old", "web.test"]);
    assert_eq!(hosts(&first(&service("other"), &policy)), ["other.test"]);
    assert_eq!(first(&service("test-1"), &policy).left_out, Some(Reason::Dropped));
    // Aliases are hosts beside those that the registry gives.
    let mut own = service("web");
    own.hosts = vec![crate::model::host::Host::parse("own.test").unwrap()];
    assert_eq!(hosts(&first(&own, &policy)), ["own.test", "web.old", "web.test"]);
}

#[test]
fn hosts_of_the_owner_take_the_place_of_all_others_where_that_is_allowed() {
    let mut policy = Policy::from(mapping());
    let s = of(vec![instance(&[], &[("chandler-host", "b.example")])]);
    assert_eq!(hosts(&first(&s, &policy)), ["web.test"]);
    policy.map.self_service.may.insert(Say::Host);
    let admitted = first(&s, &policy);
    assert_eq!(hosts(&admitted), ["b.example"]);
    assert_eq!(hosts(&after(&of(vec![]), &policy, Some((&s, &admitted)), 0)), ["b.example"]);
}

#[test]
fn the_reason_does_not_depend_on_the_order_of_instances() {
    let mut policy = Policy::from(mapping());
    policy.select.include = tagged("mesh");
    let mut both = vec![instance(&[], &[]), instance(&["mesh"], &[("chandler-skip", "true")])];
    let one = first(&of(both.clone()), &policy);
    both.reverse();
    assert_eq!(first(&of(both), &policy), one);
    assert_eq!(one.left_out, Some(Reason::NotIncluded));
}
