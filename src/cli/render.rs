//! `chandler render`: the objects that would be served, for a review or for `kubectl apply`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::app;
use crate::cli::ConfigArgs;
use crate::cli::check::tell_waiting;
use crate::cli::get::duration;
use crate::cli::item::{self, Item};
use crate::cli::output::{Failure, say};
use crate::resource::collection::Collection;
use crate::resource::snapshot::Snapshot;

/// Print the Istio objects that would be served.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Print the Istio objects that would be served.

Reads every registry once and prints what the mesh would receive, with the Namespaces that the objects live in. The \
output is the same for the same content of the registries, so that two of them can be compared.",
    after_help = "\
Examples:
  # What would the mesh receive?
  chandler render --config chandler.yaml

  # Into a cluster, without a running chandler
  chandler render --config chandler.yaml | kubectl apply -f -

  # What does a change of the configuration change?
  diff <(chandler render -c old.yaml) <(chandler render -c new.yaml)"
)]
pub(crate) struct Render {
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: RenderForm,
    /// How long to wait for the registries [default: 30s, and longer where one that has just started is not believed at once]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// In what form objects are rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum RenderForm {
    /// Documents, fit for `kubectl apply -f -`
    #[default]
    Yaml,
    /// One List
    Json,
    /// Aligned columns
    Table,
}

/// Reads once and prints.
pub(crate) async fn run(args: &Render) -> Result<(), Failure> {
    let config = args.config.load()?;
    let read = app::read_once(&config, args.timeout, tell_waiting).await.map_err(Failure::from)?;
    say(&print(&read.snapshot, args.output)?)
}

/// Everything in `snapshot`, in order.
pub(crate) fn print(snapshot: &Snapshot, form: RenderForm) -> Result<String, Failure> {
    let content = || Collection::all().filter_map(|c| snapshot.get(c).map(|content| (c, content)));
    if form == RenderForm::Table {
        let tables = content().filter(|(_, content)| !content.is_empty()).map(|(collection, content)| {
            let items: Vec<Item> = content.iter().map(|r| Item::from(&**r)).collect();
            item::table(collection, &items, false)
        });
        return Ok(tables.collect::<Vec<_>>().join("\n"));
    }
    let resources = || content().flat_map(|(_, content)| content.iter());
    let namespaces: BTreeSet<&str> = resources().map(|r| r.id.name.parts().0).collect();
    let mut objects: Vec<Value> = namespaces.into_iter().map(namespace).collect();
    for resource in resources() {
        let object = Item::from(&**resource).object();
        objects.push(object.map_err(|e| Failure::Found(format!("{}: {e}", resource.id.name)))?);
    }
    Ok(if form == RenderForm::Json { item::json_list(objects) } else { item::yaml_documents(&objects) })
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::item::tests::entry;
    use crate::resource::snapshot::{Changes, CollectionSnapshot};

    pub(crate) fn snapshot(names: &[&str]) -> Snapshot {
        let resources = names.iter().map(|n| Arc::new(entry(n, 1)));
        let changes: Changes = resources.map(|r| (r.id.name.clone(), Some(r))).collect();
        let content = CollectionSnapshot::default().apply(&changes);
        Snapshot::default().with(Collection::ServiceEntry, Arc::new(content))
    }

    #[test]
    fn namespaces_come_before_what_lives_in_them() {
        let text = print(&snapshot(&["a", "b"]), RenderForm::Yaml).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let kinds: Vec<_> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "ServiceEntry", "ServiceEntry"]);
        assert_eq!(documents[0]["metadata"]["name"], "chandler");
        assert_eq!(documents[1]["metadata"]["namespace"], "chandler");
        let json: Value =
            serde_json::from_str(&print(&snapshot(&["a", "b"]), RenderForm::Json).unwrap()).unwrap();
        assert_eq!(json["items"], Value::from(documents));
    }

    #[test]
    fn the_same_content_is_the_same_text() {
        assert_eq!(
            print(&snapshot(&["b", "a"]), RenderForm::Yaml).unwrap(),
            print(&snapshot(&["a", "b"]), RenderForm::Yaml).unwrap()
        );
    }

    #[test]
    fn a_table_leaves_empty_collections_out() {
        let snapshot = snapshot(&["a"]).with(Collection::Gateway, Arc::default());
        let text = print(&snapshot, RenderForm::Table).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(print(&Snapshot::default(), RenderForm::Yaml), Ok(String::new()));
    }
}
