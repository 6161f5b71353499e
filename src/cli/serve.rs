//! `chandler serve`: the server, and the words with which it begins.

use std::pin::pin;
use std::time::Duration;

use clap::Args;

use crate::app::{App, Place, Started};
use crate::cli::output::{Failure, say};
use crate::cli::{ConfigArgs, place};
use crate::pipeline::report::{Questions, RegistryReport};
use crate::resource::collection::Collection;
use crate::security::peer::Identity;
use crate::security::tls::server::Summary;
use crate::store::StoreReader;
use crate::telemetry::{REVISION, VERSION};

/// Serve the registries' services to control planes.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Serve the registries' services to control planes.

Reads the registries of the configuration and serves what they know as Istio resources, over the Mesh Configuration \
Protocol. Without a configuration it serves samples on loopback: a quick start. Once everything listens it prints what \
is served and where; logs go to standard error.

SIGTERM and Ctrl-C drain: new streams are refused, open ones end spread over the grace period. SIGHUP reads the \
configuration again; its file is watched as well.",
    after_help = "\
Examples:
  # Samples on loopback, to look around
  chandler serve

  # Your own registries
  chandler serve --config chandler.yaml

  # More words about one part, as JSON
  chandler serve -c chandler.yaml --log-level info,chandler::registry=debug --log-format json"
)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
}

/// How long the words wait for the first reads; a registry that takes longer is said to.
const FIRST_READS: Duration = Duration::from_secs(2);

/// Serves until told to stop.
pub(crate) async fn run(args: &Serve) -> Result<(), Failure> {
    let config = args.config.load()?;
    let app = App::bind(config, args.config.source()).await?;
    #[cfg(all(test, feature = "files"))]
    trouble::await_orders(app.questions());
    let words = announce(app.started().clone(), app.reader(), app.questions());
    let mut serving = pin!(app.run());
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = words => {}
    }
    Ok(serving.await?)
}

/// Says what is served and where, once everything has been read, or soon.
async fn announce(started: Started, mut reader: StoreReader, questions: Questions) {
    let read = async {
        while let Some(snapshot) = reader.next().await {
            if Collection::all().all(|c| snapshot.get(c).is_some()) {
                return;
            }
        }
    };
    let _late = tokio::time::timeout(FIRST_READS, read).await;
    let registries = questions.registries().await.unwrap_or_default();
    let through_cargo = std::env::var_os("CARGO").is_some();
    // A server whose output nobody reads is still a server.
    let _unread = say(&ready_block(&started, &registries, through_cargo));
}

/// What a person wants to know once everything listens: what is served, where, and what to type next.
fn ready_block(started: &Started, registries: &[RegistryReport], through_cargo: bool) -> String {
    let mut out = format!("chandler {VERSION} ({REVISION}) serves\n");
    let width = registries.iter().map(|r| r.name.chars().count()).max().unwrap_or(0).max(9);
    for r in registries {
        let what = if r.complete || r.restored_seconds.is_some() {
            let counts = [(r.services, "service"), (r.endpoints, "endpoint"), (r.objects, "object")];
            // Only files hold whole objects.
            let shown = counts.iter().filter(|(n, what)| *n > 0 || *what != "object");
            let shown = shown.map(|(n, what)| number(*n, what)).collect::<Vec<_>>().join(", ");
            let age = r.restored_seconds.map(|age| format!(", as saved {age} s ago: not read yet"));
            shown + &age.unwrap_or_default()
        } else {
            "not read yet: see `chandler status`".into()
        };
        out.push_str(&format!("  {:<width$}   {what}\n", r.name));
    }
    if registries.is_empty() {
        out.push_str("  nothing: no registry is configured\n");
    }
    out.push_str("at\n");
    let said =
        |of: &Place| if place::is_plain(of) { String::new() } else { format!("   {}", place::short(of)) };
    for grpc in &started.grpc {
        out.push_str(&format!("  {:<width$}   {}{}\n", "gRPC", grpc.address, said(grpc)));
    }
    out.push_str(&format!("  {:<width$}   http://{}/metrics\n", "telemetry", started.telemetry));
    let (admin, scheme) = (&started.admin, if started.admin.tls.is_some() { "https" } else { "http" });
    out.push_str(&format!("  {:<width$}   {scheme}://{}/{}\n", "admin", admin.address, said(admin)));
    out.push_str(&format!("\nNext, in a second terminal:\n  {}\n", next_line(started, through_cargo)));
    out
}

fn number(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The line that shows what a control plane would receive.
fn next_line(started: &Started, through_cargo: bool) -> String {
    let program = if through_cargo { "cargo run --release --" } else { "chandler" };
    // The first on this machine, else the first.
    let is_local = |p: &&Place| p.address.ip().is_loopback() || p.address.ip().is_unspecified();
    let local = started.grpc.iter().find(is_local);
    let place = local.or(started.grpc.first());
    let tls = place.and_then(|p| p.tls.as_ref()).map(tls_options).unwrap_or_default();
    let server = match place.map(|p| p.address) {
        Some(address) if address.port() != 9901 || local.is_none() => {
            let host = if local.is_some() { "127.0.0.1".into() } else { address.ip().to_string() };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!(" --server {host}:{}", address.port())
        }
        _ => String::new(),
    };
    format!("{program} get serviceentries{server}{tls}")
}

/// Where the certificate has a name, that is hardly the address that is dialled.
fn tls_options(summary: &Summary) -> String {
    let host = summary.names.iter().find_map(|name| match name {
        Identity::Dns(host) if !host.starts_with('*') => Some(host),
        _ => None,
    });
    host.map_or(" --ca FILE".into(), |host| format!(" --ca FILE --server-name {host}"))
}

#[cfg(test)]
#[cfg(feature = "files")] // the configuration of the tests names it
mod trouble;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Access;

    fn started(listener: &str) -> Started {
        let place =
            |address: &str| Place { address: address.parse().unwrap(), tls: None, access: Access::Local };
        Started {
            grpc: vec![place(listener)],
            telemetry: "127.0.0.1:9902".parse().unwrap(),
            admin: place("127.0.0.1:9903"),
        }
    }

    fn registries() -> Vec<RegistryReport> {
        let registry = RegistryReport {
            name: "onboard".into(),
            complete: true,
            services: 1,
            endpoints: 2,
            ..RegistryReport::default()
        };
        let objects = RegistryReport { name: "own".into(), objects: 2, ..registry.clone() };
        let unread = RegistryReport { name: "prod".into(), complete: false, ..registry.clone() };
        vec![registry, objects, unread]
    }

    #[test]
    fn the_block_says_what_where_and_what_next() {
        let want = format!(
            "\
chandler {VERSION} ({REVISION}) serves
  onboard     1 service, 2 endpoints
  own         1 service, 2 endpoints, 2 objects
  prod        not read yet: see `chandler status`
at
  gRPC        127.0.0.1:9901
  telemetry   http://127.0.0.1:9902/metrics
  admin       http://127.0.0.1:9903/

Next, in a second terminal:
  cargo run --release -- get serviceentries
"
        );
        assert_eq!(ready_block(&started("127.0.0.1:9901"), &registries(), true), want);
    }

    #[test]
    fn tls_and_access_are_said_where_they_are() {
        let mut started = started("10.1.2.3:9901");
        let names = [Identity::Dns("*.b".into()), Identity::Dns("a.b".into())];
        let summary = Summary { names: Arc::new(names), expires: 0, clients: None };
        started.grpc[0].tls = Some(summary.clone());
        started.grpc[0].access = Access::Open;
        started.admin.tls = Some(summary);
        let block = ready_block(&started, &[], false);
        let tls = "TLS as *.b, a.b until 1970-01-01, no client certificates";
        for line in [
            format!("  gRPC        10.1.2.3:9901   {tls}; open to whoever reaches it\n"),
            format!("  admin       https://127.0.0.1:9903/   {tls}; whoever is on this machine\n"),
            "  chandler get serviceentries --server 10.1.2.3:9901 --ca FILE --server-name a.b\n".to_owned(),
        ] {
            assert!(block.contains(&line), "{line} in\n{block}");
        }
    }

    #[test]
    fn the_next_line_reaches_the_server_wherever_it_listens() {
        let line = |listener| next_line(&started(listener), false);
        assert_eq!(line("0.0.0.0:9901"), "chandler get serviceentries");
        assert_eq!(line("127.0.0.1:7000"), "chandler get serviceentries --server 127.0.0.1:7000");
        assert_eq!(line("10.1.2.3:9901"), "chandler get serviceentries --server 10.1.2.3:9901");
        assert_eq!(line("[fd00::1]:9901"), "chandler get serviceentries --server [fd00::1]:9901");
    }
}
