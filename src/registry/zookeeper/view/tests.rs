use super::*;
use crate::model::service::{Protocol, Scope};
use crate::registry::zookeeper::layout::curator::{Curator, CuratorSettings};
use crate::registry::zookeeper::layout::dubbo::{By, Dubbo, DubboSettings};

fn view() -> View {
    let scope = Scope::new("test");
    let dubbo = DubboSettings::usual(By::Interface);
    let curator = CuratorSettings { root: "/services".into(), protocol: Protocol::Auto };
    let layouts: Vec<Box<dyn Layout>> =
        vec![Box::new(Dubbo::new(dubbo, scope.clone())), Box::new(Curator::new(curator, scope))];
    View::new(layouts, Tree::default())
}

const ONE: &str = "/dubbo/a.A/providers/dubbo:%2F%2F10.0.0.1:1%2Fa.A";
const TWO: &str = "/dubbo/a.A/providers/dubbo:%2F%2F10.0.0.2:1%2Fa.A";

fn upserts(changes: &[Change]) -> usize {
    changes.iter().filter(|c| matches!(c, Change::Upsert(_))).count()
}

#[test]
fn roots_that_lie_in_others_are_not_watched_twice() {
    assert_eq!(view().roots(), ["/dubbo".into(), "/services".into()]);
}

#[test]
fn a_change_is_said_once_and_only_if_it_changes_something() {
    let mut view = view();
    view.put(ONE);
    assert_eq!(upserts(&view.changes()), 1);
    view.put(ONE);
    view.put("/dubbo/a.A/consumers/x");
    assert!(view.changes().is_empty());
    view.put(TWO);
    let changes = view.changes();
    let [Change::Upsert(Item::Service(service))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(service.endpoints.len(), 2);
    assert_eq!((view.services(), view.items().len()), (1, 1));
}

#[test]
fn what_was_deleted_was_deregistered() {
    let mut view = view();
    view.put(ONE);
    view.changes();
    view.remove("/dubbo/a.A");
    let changes = view.changes();
    assert!(matches!(changes.as_slice(), [Change::Remove(_, Cause::Deregistered)]), "{changes:?}");
    assert_eq!(view.services(), 0);
}

#[test]
fn a_list_says_what_came_and_what_went() {
    let mut view = view();
    let path: Arc<str> = "/services/s".into();
    let json = br#"{"address":"10.0.0.1","port":1}"#;
    let there = |names: &[&str]| Answer::There {
        data: None,
        children: Some(names.iter().map(ToString::to_string).collect()),
    };
    assert_eq!(view.take(&path, &there(&["1", "2"])), ["/services/s/1".into(), "/services/s/2".into()]);
    for id in ["1", "2"] {
        let read = Answer::There { data: Some(json.to_vec()), children: None };
        view.take(&format!("/services/s/{id}").into(), &read);
    }
    assert_eq!(upserts(&view.changes()), 1);
    assert!(view.take(&path, &there(&["2"])).is_empty(), "nothing new is to be read");
    let changes = view.changes();
    let [Change::Upsert(Item::Service(service))] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(service.endpoints.len(), 1);
    view.take(&"/services/s/2".into(), &Answer::Absent);
    assert!(matches!(view.changes().as_slice(), [Change::Remove(..)]));
}

#[test]
fn what_may_not_be_read_stays_and_is_named() {
    let mut view = view();
    view.put(ONE);
    view.changes();
    view.take(&"/dubbo/a.A".into(), &Answer::Denied);
    assert!(view.changes().is_empty());
    assert_eq!(view.tree().denied().map(|p| &**p).collect::<Vec<_>>(), ["/dubbo/a.A"]);
}

#[test]
fn what_can_be_read_again_is_read_as_if_it_were_new() {
    let mut view = view();
    view.put(ONE);
    view.changes();
    let path: Arc<str> = "/dubbo/a.A".into();
    view.take(&path, &Answer::Denied);
    let there = Answer::There { data: None, children: Some(vec!["providers".into()]) };
    assert_eq!(view.take(&path, &there), ["/dubbo/a.A/providers".into()]);
    let list = Answer::There { data: None, children: Some(vec!["dubbo:%2F%2F10.0.0.1:1%2Fa.A".into()]) };
    view.take(&"/dubbo/a.A/providers".into(), &list);
    assert!(view.changes().is_empty(), "nothing has changed meanwhile");
    assert_eq!((view.tree().denied().count(), view.services()), (0, 1));
}

#[test]
fn a_full_read_says_everything_and_forgets_what_was_said() {
    let mut view = view();
    view.put(ONE);
    view.changes();
    let mut tree = Tree::default();
    tree.put("/dubbo/b.B/providers/dubbo:%2F%2F10.0.0.1:1%2Fb.B");
    tree.put("/dubbo/b.B/providers/rubbish");
    view.replace(tree);
    let items = view.items();
    assert_eq!(items.iter().map(|i| &*i.key().name).collect::<Vec<_>>(), ["/dubbo/b.B"]);
    assert!(view.changes().is_empty());
    assert_eq!(view.faults().collect::<Vec<_>>(), ["/dubbo/b.B: rubbish: its name is no URL"]);
}
