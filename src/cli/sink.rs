//! `chandler sink`: what would be written into the sinks of a configuration, and the removal of all that was.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::app::{self, Action, Plan};
use crate::cli::ConfigArgs;
use crate::cli::check::tell_waiting;
use crate::cli::get::duration;
use crate::cli::item;
use crate::cli::output::{Failure, complain, say};
use crate::cli::status::StatusForm;

/// Look at what is pushed to Kubernetes, or remove it.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Look at what is pushed to Kubernetes, or remove it.

Works with the sinks of a configuration, from anywhere that reaches their API servers; no chandler need run.",
    after_help = "\
Examples:
  # What would be written and removed if chandler started now?
  chandler sink diff --config chandler.yaml

  # What is there of ours?
  chandler sink prune --config chandler.yaml

  # Remove all of it
  chandler sink prune --config chandler.yaml --yes"
)]
pub(crate) struct Sink {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Diff(Diff),
    Prune(Prune),
}

/// Show what would be written and removed, and write nothing.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show what would be written and removed, and write nothing.

Reads every registry once and compares with the objects that are there. Ends with exit code 1 if anything cannot be \
written, with 0 otherwise, whether anything differs or not.",
    after_help = "\
Examples:
  # Before the first start
  chandler sink diff --config chandler.yaml

  # One sink of several, for a script
  chandler sink diff --config chandler.yaml --sink east -o json"
)]
struct Diff {
    #[command(flatten)]
    config: ConfigArgs,
    /// This sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: StatusForm,
    /// How long to wait for the registries [default: 30s, and longer where one that has just started is not believed at once]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Remove every object that a sink has written, for a clean uninstall.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Remove every object that a sink has written, for a clean uninstall.

Only what carries the labels of this installation goes: nothing written by hand or by another chandler, and no namespace. \
Without --yes it shows what would go. While a chandler runs that would write everything back, nothing is removed.",
    after_help = "\
Examples:
  # What would go?
  chandler sink prune --config chandler.yaml

  # Let it go
  chandler sink prune --config chandler.yaml --yes"
)]
struct Prune {
    #[command(flatten)]
    config: ConfigArgs,
    /// This sink alone
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Really remove
    #[arg(long)]
    yes: bool,
}

/// Does what was asked for.
pub(crate) async fn run(args: &Sink) -> Result<(), Failure> {
    match &args.command {
        Command::Diff(args) => diff(args).await,
        Command::Prune(args) => prune(args).await,
    }
}

async fn diff(args: &Diff) -> Result<(), Failure> {
    let config = args.config.load()?;
    let sinks = app::sinks_of(&config.sinks, args.sink.as_deref()).map_err(Failure::Wrong)?;
    let read = app::read_once(&config, args.timeout, tell_waiting).await.map_err(Failure::from)?;
    let mut plans = Vec::new();
    for sink in sinks {
        let plan = app::sink_plan(&config.sinks, sink, read.snapshot.clone()).await;
        plans
            .push((sink.name.clone(), plan.map_err(|e| Failure::Found(format!("sink {}: {e}", sink.name)))?));
    }
    say(&match args.output {
        StatusForm::Table => plans.iter().map(|(name, plan)| text(name, plan)).collect(),
        StatusForm::Json => item::pretty(&plans.iter().map(|(name, plan)| json(name, plan)).collect()),
    })?;
    let well = plans.iter().all(|(_, p)| p.refused.is_empty() && p.unknown.is_empty());
    if well { Ok(()) } else { Err(Failure::Shown) }
}

fn mark(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Delete => "-",
    }
}

fn text(name: &str, plan: &Plan) -> String {
    let count = |action| plan.steps.iter().filter(|(a, _)| *a == action).count();
    let (new, changed, gone) = (count(Action::Create), count(Action::Update), count(Action::Delete));
    let mut out = format!(
        "{name}: {new} to create, {changed} to change, {gone} to remove, {} as they are\n",
        plan.unchanged
    );
    for (action, object) in &plan.steps {
        out.push_str(&format!("{} {object}\n", mark(*action)));
    }
    for (object, why) in &plan.refused {
        out.push_str(&format!("! {object}: {why}\n"));
    }
    plan.unknown.iter().for_each(|why| out.push_str(&format!("! {why}\n")));
    out
}

fn json(name: &str, plan: &Plan) -> serde_json::Value {
    let of = |action| -> Vec<&String> {
        plan.steps.iter().filter(|(a, _)| *a == action).map(|(_, object)| object).collect()
    };
    json!({
        "sink": name,
        "create": of(Action::Create),
        "update": of(Action::Update),
        "delete": of(Action::Delete),
        "unchanged": plan.unchanged,
        "refused": plan.refused.iter().map(|(object, why)| json!({"object": object, "reason": why})).collect::<Vec<_>>(),
        "problems": plan.unknown,
    })
}

async fn prune(args: &Prune) -> Result<(), Failure> {
    let config = args.config.load()?;
    for sink in app::sinks_of(&config.sinks, args.sink.as_deref()).map_err(Failure::Wrong)? {
        let found = |e: &dyn std::fmt::Display| Failure::Found(format!("sink {}: {e}", sink.name));
        if args.yes {
            let gone = app::sink_prune(sink).await.map_err(|e| found(&e))?;
            say(&format!("{}: {} removed\n", sink.name, counted(gone)))?;
            continue;
        }
        let objects = app::sink_objects(sink).await.map_err(|e| found(&e))?;
        for object in &objects {
            say(&format!("- {object}\n"))?;
        }
        let removed = counted(objects.len());
        complain(&format!("{}: {removed} would be removed; --yes removes them", sink.name));
    }
    Ok(())
}

fn counted(objects: usize) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{objects} objects") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_every_object_with_what_happens_to_it() {
        let plan = Plan {
            steps: vec![
                (Action::Create, "ServiceEntry a/b".into()),
                (Action::Delete, "WorkloadEntry a/c".into()),
            ],
            unchanged: 3,
            refused: vec![("ServiceEntry a/d".into(), "taken".into())],
            unknown: Vec::new(),
        };
        let want = "x: 1 to create, 0 to change, 1 to remove, 3 as they are\n+ ServiceEntry a/b\n- WorkloadEntry a/c\n\
                    ! ServiceEntry a/d: taken\n";
        assert_eq!(text("x", &plan), want);
        assert_eq!(json("x", &plan)["delete"], json!(["WorkloadEntry a/c"]));
    }
}
