//! `chandler get`: what a control plane would receive.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::dial::{DialArgs, host_port};
use crate::cli::get::feed::{Asks, Change, Feed, Wire};
use crate::cli::item::{self, Form, Item};
use crate::cli::output::Failure;
use crate::cli::table::{Cell, Table, Tone};
use crate::cli::{get::feed::Event, yaml};
use crate::resource::collection::Collection;
use crate::resource::legacy::Pilot;

mod feed;
mod pilot;

/// Display what a control plane would receive from a server.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Display what a control plane would receive from a server.

Dials the server's gRPC address just as an istiod does, waits until it is answered, and prints what it received. A \
server does not answer for a collection before every registry that feeds it has been read: then this waits, and gives \
up after --timeout.",
    after_help = "\
Examples:
  # What the server on this machine serves
  chandler get

  # One ServiceEntry, whole, fit for kubectl apply
  chandler get se billing -o yaml

  # What changes, as it changes, over the incremental protocol
  chandler get serviceentries --watch --wire delta

  # What a Pilot of Istio 1.4 receives over the legacy protocol
  chandler get --wire mcp --pilot 1.4

  # From another machine, every column
  chandler get we --server chandler.chandler:9901 -o wide

  # Over mutual TLS, or with a token
  chandler get --server chandler:9901 --ca ca.crt --cert tls.crt --key tls.key
  chandler get --server chandler:9901 --ca ca.crt --token-file token"
)]
pub(crate) struct Get {
    /// What to display: any name that kubectl takes (serviceentries, se, workloadentries, we, ...)
    #[arg(default_value = "serviceentries", value_parser = collection)]
    collection: Collection,
    /// Only the resource of this name: NAME or NAMESPACE/NAME
    name: Option<String>,
    /// gRPC address of the server
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port, default_value = "127.0.0.1:9901")]
    server: String,
    /// How to ask
    #[arg(long, value_enum, default_value_t)]
    wire: Wire,
    /// Which release to be, from 1.1 to 1.8, with --wire mcp: older ones do not get what they would refuse
    #[arg(long, value_name = "RELEASE", default_value_t = Pilot::NEWEST)]
    pilot: Pilot,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// Keep printing what changes, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// How long to wait for the first answer
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    // Last: its heading would stand over whatever follows.
    #[command(flatten)]
    dial: DialArgs,
}

/// Reads any of kubectl's names for a kind.
fn collection(name: &str) -> Result<Collection, String> {
    Collection::of_name(name).ok_or_else(|| {
        let known: Vec<_> =
            Collection::all().map(|c| format!("{} ({})", c.plural(), c.short_name())).collect();
        format!("there is no such collection. There are {}", known.join(", "))
    })
}

/// Reads `10`, `10s`, `500ms` or `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or(text).parse::<u64>();
    let number = number.map_err(|_| "a duration is a number and a unit: 500ms, 10s, 1m".to_string())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        other => Err(format!("{other:?} is no unit of time: 500ms, 10s, 1m")),
    }
}

/// Where the printed text goes, piece by piece.
pub(crate) type Printer<'a> = dyn FnMut(&str) -> Result<(), Failure> + 'a;

/// Asks and prints; with `--watch` until `stop`.
pub(crate) async fn run(
    get: &Get,
    stop: impl Future<Output = ()>,
    print: &mut Printer<'_>,
) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(stop);
    let answered = async {
        let mut feed = Feed::open(&get.server, &get.dial.read()?, get.asks(), get.collection).await?;
        let first = feed.next().await?;
        Ok::<_, Failure>((feed, first))
    };
    let (mut feed, first) = tokio::select! {
        answered = tokio::time::timeout(get.timeout, answered) => answered.map_err(|_| silence(get))??,
        () = &mut stop => return Ok(()),
    };
    if !get.watch {
        let items: Vec<Item> = feed.items().filter(|i| get.wants(i)).cloned().collect();
        return print(&get.render(&items)?);
    }
    let mut changes = first;
    let mut watched = Watched::new(get);
    loop {
        print(&watched.render(&changes)?)?;
        changes = tokio::select! {
            next = feed.next() => next?,
            () = &mut stop => return Ok(()),
        };
    }
}

fn silence(get: &Get) -> Failure {
    Failure::Found(format!(
        "{} has not answered for {} within {:?}: its registries are probably not read yet. `chandler status` says \
         which; --timeout waits longer",
        get.server, get.collection, get.timeout
    ))
}

impl Get {
    fn asks(&self) -> Asks {
        match self.wire {
            Wire::Xds => Asks::Xds,
            Wire::Delta => Asks::Delta,
            Wire::Mcp => Asks::Mcp(self.pilot),
        }
    }

    fn wants(&self, item: &Item) -> bool {
        self.name.as_deref().is_none_or(|name| item.is_called(name))
    }

    fn render(&self, items: &[Item]) -> Result<String, Failure> {
        if items.is_empty() {
            return match (&self.name, self.output) {
                (Some(name), _) => Err(Failure::Found(format!("{} {name:?} not found", self.collection))),
                (None, Form::Json) => Ok(item::json_list(Vec::new())),
                (None, _) => {
                    crate::cli::output::complain(&format!("No {} found.", self.collection));
                    Ok(String::new())
                }
            };
        }
        Ok(match self.output {
            Form::Table => item::table(self.collection, items, false),
            Form::Wide => item::table(self.collection, items, true),
            Form::Name => items.iter().map(|i| i.kubectl_name() + "\n").collect(),
            Form::Yaml => item::yaml_documents(&objects(items)?),
            Form::Json => match (objects(items)?, &self.name) {
                (mut objects, Some(_)) if objects.len() == 1 => item::pretty(&objects.swap_remove(0)),
                (objects, _) => item::json_list(objects),
            },
        })
    }
}

fn objects(items: &[Item]) -> Result<Vec<serde_json::Value>, Failure> {
    items.iter().map(object).collect()
}

fn object(item: &Item) -> Result<serde_json::Value, Failure> {
    item.object().map_err(|e| Failure::Found(format!("{}: {e}", item.id.name)))
}

/// Prints changes, each as kubectl does with `--output-watch-events`.
struct Watched<'a> {
    get: &'a Get,
    table: Table,
}

impl<'a> Watched<'a> {
    fn new(get: &'a Get) -> Self {
        let mut heads = vec!["EVENT"];
        heads.extend(item::heads(get.collection, get.output == Form::Wide));
        Self { get, table: Table::new(&heads, crate::cli::output::colours()) }
    }

    fn render(&mut self, changes: &[Change]) -> Result<String, Failure> {
        let wanted = changes.iter().filter(|(_, item)| self.get.wants(item));
        let mut out = String::new();
        for (event, item) in wanted {
            match self.get.output {
                Form::Table | Form::Wide => {
                    let mut row = vec![Cell::toned(event.as_str(), tone(*event))];
                    row.extend(item.row(self.get.output == Form::Wide));
                    self.table.push(row);
                }
                Form::Name => out.push_str(&format!("{:<8}   {}\n", event.as_str(), item.kubectl_name())),
                Form::Yaml => {
                    let change = json!({"type": event.as_str(), "object": object(item)?});
                    out.push_str(&format!("---\n{}", yaml::document(&change)));
                }
                // A line each, so that a program can read them as they come.
                Form::Json => {
                    out.push_str(&format!("{}\n", json!({"type": event.as_str(), "object": object(item)?})));
                }
            }
        }
        if matches!(self.get.output, Form::Table | Form::Wide) {
            out.push_str(&self.table.flush());
        }
        Ok(out)
    }
}

fn tone(event: Event) -> Tone {
    match event {
        Event::Added => Tone::Good,
        Event::Modified => Tone::Doubtful,
        Event::Deleted => Tone::Bad,
    }
}

#[cfg(test)]
mod tests;
