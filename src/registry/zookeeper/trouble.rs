//! What people are told to be wrong with a ZooKeeper: a few words, the first nodes by name. Pure.

use crate::registry::zookeeper::view::View;

/// While there is no connection.
pub(crate) const LOST: &str = "the connection to ZooKeeper is lost, what is known stays";
/// How many nodes are named.
const NAMED: usize = 3;

/// All that is wrong: `trouble` with the session, `doubt` about what was read, and what `view` could not make sense of.
pub(crate) fn words(trouble: Option<&str>, doubt: Option<&str>, view: &View) -> Option<String> {
    let mut all: Vec<String> = trouble.into_iter().chain(doubt).map(Into::into).collect();
    let roots = view.roots();
    if all.is_empty() && roots.iter().all(|root| view.tree().get(root).is_none()) {
        // What a wrong path looks like; in a new ZooKeeper it is true until somebody registers.
        all.push(format!(
            "there is no {} in this ZooKeeper: are `chroot` and `layouts` right?",
            roots.join(" and no ")
        ));
    }
    let denied: Vec<&str> = view.tree().denied().map(|path| &**path).collect();
    if !denied.is_empty() {
        all.push(format!("may not be read, what was known of it stays: {}", first(&denied)));
    }
    let faults: Vec<&str> = view.faults().collect();
    if !faults.is_empty() {
        all.push(format!("left out: {}", first(&faults)));
    }
    (!all.is_empty()).then(|| all.join("; "))
}

/// The first of them, and how many more there are.
fn first(all: &[&str]) -> String {
    let named = all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::{Protocol, Scope};
    use crate::registry::zookeeper::layout::curator::{Curator, CuratorSettings};
    use crate::registry::zookeeper::tree::Tree;
    use crate::registry::zookeeper::view::Answer;

    #[test]
    fn a_place_where_nothing_is_was_perhaps_not_meant() {
        let settings = CuratorSettings { root: "/services".into(), protocol: Protocol::Auto };
        let layout = Box::new(Curator::new(settings, Scope::new("test")));
        let mut view = View::new(vec![layout], Tree::default());
        assert!(
            words(None, None, &view)
                .is_some_and(|w| w.starts_with("there is no /services in this ZooKeeper"))
        );
        assert_eq!(words(Some(LOST), None, &view).as_deref(), Some(LOST));
        view.put("/services");
        assert_eq!(words(None, None, &view), None);
        view.take(&"/services/a".into(), &Answer::Denied);
        let want = "x; may not be read, what was known of it stays: /services/a";
        assert_eq!(words(None, Some("x"), &view).as_deref(), Some(want));
    }

    #[test]
    fn a_few_are_named_and_the_rest_is_counted() {
        assert_eq!(first(&["a", "b"]), "a, b");
        assert_eq!(first(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
