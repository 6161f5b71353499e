//! `chandler status`: how the registries are, and how far each client has got.

use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::admin::rows::{ClientRow, RegistryRow, SinkRow, SyncState, WatchRow, parse_rfc3339};
use crate::cli::dial::{Dial, DialArgs, host_port};
use crate::cli::item;
use crate::cli::output::{Failure, colours, say};
use crate::cli::table::{Cell, Table, Tone};
use crate::pipeline::report::{AreaReport, HeldReport};
use crate::resource::collection::Collection;

mod http;
mod sinks;

/// Display how a server's registries, clients and sinks are.
#[derive(Debug, Args)]
#[command(
    long_about = "\
Display how a server's registries, clients and sinks are.

Registries: whether each is up and completely read, what it holds, how old its data is. Clients: how far each has got \
with each collection: SYNCED (has what is served), STALE (something newer is on its way), NOT SENT (the collection is \
not complete yet), NACK (it objected; the reason stands below).

Sinks: whether the API server is reached, who writes, what differs and what cannot be written.

Ends with exit code 1 if a registry is down or not read, a client has objected, or a sink is down or has what it cannot \
write.",
    after_help = "\
Examples:
  # The server on this machine
  chandler status

  # Another one, for a script
  chandler status --admin chandler-0.chandler:9903 -o json

  # Over TLS, with a token
  chandler status --admin chandler-0:9903 --ca ca.crt --token-file token"
)]
pub(crate) struct StatusArgs {
    /// Admin address of the server
    #[arg(long, value_name = "HOST:PORT", value_parser = host_port, default_value = "127.0.0.1:9903")]
    admin: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: StatusForm,
    // Last: its heading would stand over whatever follows.
    #[command(flatten)]
    dial: DialArgs,
}

/// In what form the status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum StatusForm {
    /// Aligned columns
    #[default]
    Table,
    /// The rows of the API
    Json,
}

/// Asks and prints.
pub(crate) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    let dial = args.dial.read()?;
    let registries: Vec<RegistryRow> = ask(&args.admin, &dial, "/api/v1/registries").await?;
    let clients: Vec<ClientRow> = ask(&args.admin, &dial, "/api/v1/clients").await?;
    let sinks: Vec<SinkRow> = ask(&args.admin, &dial, "/api/v1/sinks").await?;
    let held: Vec<HeldReport> = ask(&args.admin, &dial, "/api/v1/held").await?;
    let frozen: Vec<AreaReport> = ask(&args.admin, &dial, "/api/v1/freeze").await?;
    let text = match args.output {
        StatusForm::Json => item::pretty(
            &json!({"registries": registries, "clients": clients, "sinks": sinks, "held": held, "frozen": frozen}),
        ),
        StatusForm::Table => {
            let mut text = tables(&registries, &clients, SystemTime::now(), colours());
            text.push_str(&sinks::tables(&sinks, SystemTime::now(), colours()));
            text.push_str(&held_table(&held, &frozen, colours()));
            text
        }
    };
    say(&text)?;
    if is_well(&registries, &clients) && sinks::are_well(&sinks) { Ok(()) } else { Err(Failure::Shown) }
}

fn is_well(registries: &[RegistryRow], clients: &[ClientRow]) -> bool {
    let nack = |c: &ClientRow| c.watches.iter().any(|w| w.state == SyncState::Nack);
    registries.iter().all(|r| r.up && r.complete) && !clients.iter().any(nack)
}

async fn ask<T: DeserializeOwned>(server: &str, dial: &Dial, path: &str) -> Result<T, Failure> {
    let (status, body) = http::get(server, dial, path).await.map_err(Failure::Found)?;
    if !status.is_success() {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words =
            body.get("error").and_then(Value::as_str).unwrap_or("is it the admin address of a chandler?");
        return Err(Failure::Found(format!("{server} answers {status}: {words}")));
    }
    serde_json::from_slice(&body).map_err(|e| {
        Failure::Found(format!(
            "{server} answers {path} with something else than expected ({e}): is it a chandler?"
        ))
    })
}

fn tables(registries: &[RegistryRow], clients: &[ClientRow], now: SystemTime, colours: bool) -> String {
    let mut out = registry_table(registries, now, colours);
    out.push('\n');
    if clients.is_empty() {
        out.push_str("No clients.\n");
    } else {
        out.push_str(&client_table(clients, now, colours));
    }
    let mut problems = Table::new(&["NACK", "COLLECTION", "REASON"], colours);
    let nacks = clients.iter().flat_map(|c| c.watches.iter().map(move |w| (c, w)));
    let mut any = false;
    for (client, watch) in nacks {
        if let Some(reason) = &watch.nack {
            any = true;
            problems.push(vec![name(client).into(), watched(watch).into(), reason.as_str().into()]);
        }
    }
    if any {
        out.push('\n');
        out.push_str(&problems.flush());
    }
    out
}

fn registry_table(registries: &[RegistryRow], now: SystemTime, colours: bool) -> String {
    let heads = [
        "REGISTRY",
        "UP",
        "COMPLETE",
        "SERVICES",
        "LEFT OUT",
        "ENDPOINTS",
        "OBJECTS",
        "HELD",
        "REFUSED",
        "DATA AGE",
        "PROBLEM",
    ];
    let mut table = Table::new(&heads, colours);
    for r in registries {
        let unread = r.unread_scopes.join(",");
        let complete = match (r.complete, unread.is_empty()) {
            (false, _) if let Some(age) = r.restored_seconds => {
                Cell::toned(format!("saved {} ago", span(Duration::from_secs(age))), Tone::Doubtful)
            }
            (false, _) if r.given_up => Cell::toned("given up", Tone::Doubtful),
            (true, _) => Cell::toned("yes", Tone::Good),
            (false, true) => Cell::toned("no", Tone::Doubtful),
            (false, false) => Cell::toned(format!("no: {unread}"), Tone::Doubtful),
        };
        table.push(vec![
            r.name.as_str().into(),
            if r.up { Cell::toned("yes", Tone::Good) } else { Cell::toned("no", Tone::Bad) },
            complete,
            r.services.to_string().into(),
            r.left_out.to_string().into(),
            r.endpoints.to_string().into(),
            r.objects.to_string().into(),
            counted(r.held_endpoints, Tone::Doubtful),
            counted(r.refused, Tone::Bad),
            r.last_success.as_deref().map_or("never".into(), |t| since(t, now)).into(),
            r.problem.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.flush()
}

/// How many held services are shown; the API has them all.
const HELD: usize = 20;

/// What is held and what is frozen; nothing where nothing is.
fn held_table(held: &[HeldReport], frozen: &[AreaReport], colours: bool) -> String {
    let mut out = String::new();
    if !held.is_empty() {
        let mut table = Table::new(&["HELD", "SERVICE", "ENDPOINTS", "FOR", "GOES", "REASON"], colours);
        for h in held.iter().take(HELD) {
            table.push(vec![
                Cell::toned(h.registry.as_str(), Tone::Doubtful),
                h.service.as_str().into(),
                h.endpoints.to_string().into(),
                span(Duration::from_secs(h.held_seconds)).into(),
                goes(h).into(),
                h.reason.as_str().into(),
            ]);
        }
        out.push('\n');
        out.push_str(&table.flush());
        if let Some(more) = held.len().checked_sub(HELD).filter(|more| *more > 0) {
            out.push_str(&format!("… and {more} more: /api/v1/held\n"));
        }
    }
    if !frozen.is_empty() {
        let area = |a: &AreaReport| match (&a.registry, &a.service) {
            (Some(registry), Some(service)) => format!("{service} of {registry}"),
            (Some(registry), None) => registry.clone(),
            (None, _) => "everything".to_owned(),
        };
        let all: Vec<String> = frozen.iter().map(area).collect();
        out.push_str(&format!("\nFrozen by hand, nothing is taken away there: {}\n", all.join(", ")));
    }
    out
}

/// What has to happen before it goes.
fn goes(held: &HeldReport) -> String {
    let reads = held.confirm_reads.saturating_sub(held.confirmed);
    let wait = span(Duration::from_secs(held.remaining_seconds));
    match (held.frozen, reads, held.remaining_seconds) {
        (true, ..) => "once thawed".into(),
        (false, 0, _) => format!("in {wait}"),
        (false, reads, 0) => format!("after {reads} more reads"),
        (false, reads, _) => format!("after {reads} more reads and {wait}"),
    }
}

/// A number that should be 0.
fn counted(n: usize, tone: Tone) -> Cell {
    if n == 0 { "0".into() } else { Cell::toned(n.to_string(), tone) }
}

/// Those that we make have columns of their own; the rest is nearly always empty.
const OWN: [Collection; 2] = [Collection::ServiceEntry, Collection::WorkloadEntry];

fn client_table(clients: &[ClientRow], now: SystemTime, colours: bool) -> String {
    // Most meshes have no client certificates.
    let verified = clients.iter().any(|c| !c.identities.is_empty());
    let identity: &[&str] = if verified { &["IDENTITY"] } else { &[] };
    let heads = [&["CLIENT", "PEER"], identity, &["WIRE", "SINCE", "SE", "WE", "OTHERS"]].concat();
    let mut table = Table::new(&heads, colours);
    for c in clients {
        let mut row: Vec<Cell> = vec![name(c).into(), c.peer.as_deref().unwrap_or("-").into()];
        if verified {
            row.push(if c.identities.is_empty() { "-".into() } else { c.identities.join(" ").into() });
        }
        row.push(c.wire.as_str().into());
        row.push(since(&c.connected, now).into());
        for collection in OWN {
            row.push(worst(c.watches.iter().filter(|w| watched(w) == collection.plural())));
        }
        row.push(others(c.watches.iter().filter(|w| !OWN.iter().any(|o| watched(w) == o.plural()))));
        table.push(row);
    }
    table.flush()
}

fn name(client: &ClientRow) -> &str {
    // `sidecar~IP~istiod-5c….istio-system~…`: the third part says who it is.
    let parts: Vec<&str> = client.node.split('~').collect();
    match parts.as_slice() {
        [_, _, id, _] if !id.is_empty() => id,
        _ if client.node.is_empty() => "-",
        _ => &client.node,
    }
}

fn watched(watch: &WatchRow) -> &str {
    watch.collection.as_deref().unwrap_or(&watch.asked)
}

fn tone(state: SyncState) -> Tone {
    match state {
        SyncState::Synced => Tone::Good,
        SyncState::Stale | SyncState::NotSent => Tone::Doubtful,
        SyncState::Nack => Tone::Bad,
    }
}

fn rank(state: SyncState) -> u8 {
    match state {
        SyncState::Synced => 0,
        SyncState::Stale => 1,
        SyncState::NotSent => 2,
        SyncState::Nack => 3,
    }
}

/// The state of one collection, under however many names it is watched.
fn worst<'a>(watches: impl Iterator<Item = &'a WatchRow>) -> Cell {
    let state = watches.map(|w| w.state).max_by_key(|s| rank(*s));
    state.map_or("-".into(), |s| Cell::toned(s.as_str(), tone(s)))
}

/// `13 SYNCED`, and what is not by name.
fn others<'a>(watches: impl Iterator<Item = &'a WatchRow>) -> Cell {
    let (synced, rest): (Vec<_>, Vec<_>) = watches.partition(|w| w.state == SyncState::Synced);
    let mut parts: Vec<String> =
        rest.iter().map(|w| format!("{} {}", watched(w), w.state.as_str())).collect();
    if !synced.is_empty() {
        parts.insert(0, format!("{} SYNCED", synced.len()));
    }
    let worst = rest.iter().map(|w| w.state).max_by_key(|s| rank(*s)).map_or(Tone::Plain, tone);
    if parts.is_empty() { "-".into() } else { Cell::toned(parts.join(", "), worst) }
}

/// How long ago an RFC 3339 time was; the text itself where it is none.
fn since(time: &str, now: SystemTime) -> String {
    match parse_rfc3339(time) {
        // Clocks of two machines may differ.
        Some(then) => span(now.duration_since(then).unwrap_or_default()),
        None => time.into(),
    }
}

/// As kubectl prints ages: the two largest units while they matter.
fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..120 => format!("{s}s"),
        120..600 if !s.is_multiple_of(60) => format!("{}m{}s", s / 60, s % 60),
        120..10_800 => format!("{}m", s / 60),
        10_800..172_800 => format!("{}h", s / 3600),
        _ => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::admin::rows::rfc3339;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn watch(collection: &str, state: SyncState) -> WatchRow {
        WatchRow {
            asked: format!("x/{collection}"),
            collection: Some(collection.into()),
            state,
            sent: None,
            acknowledged: None,
            acknowledged_at: None,
            nack: (state == SyncState::Nack).then(|| "too long".into()),
        }
    }

    fn registry(complete: bool) -> RegistryRow {
        RegistryRow {
            name: "prod".into(),
            up: true,
            complete,
            unread_scopes: if complete { Vec::new() } else { vec!["dc1".into()] },
            services: 3,
            left_out: 1,
            endpoints: 7,
            objects: 2,
            last_success: Some(rfc3339(now() - Duration::from_secs(75))),
            ..RegistryRow::default()
        }
    }

    fn client(watches: Vec<WatchRow>) -> ClientRow {
        ClientRow {
            id: 1,
            node: "sidecar~10.0.0.1~istiod-1.istio-system~istio-system.svc.cluster.local".into(),
            peer: Some("10.0.0.1:5000".into()),
            identities: Vec::new(),
            wire: "xds".into(),
            connected: rfc3339(now() - Duration::from_secs(7200)),
            watches,
        }
    }

    #[test]
    fn registries_and_clients_are_two_tables() {
        let watches = vec![
            watch("serviceentries", SyncState::Synced),
            watch("workloadentries", SyncState::NotSent),
            watch("gateways", SyncState::Synced),
            watch("sidecars", SyncState::Stale),
        ];
        let text = tables(&[registry(true)], &[client(watches)], now(), false);
        let want = "\
REGISTRY   UP    COMPLETE   SERVICES   LEFT OUT   ENDPOINTS   OBJECTS   HELD   REFUSED   DATA AGE   PROBLEM
prod       yes   yes        3          1          7           2         0      0         75s

CLIENT                  PEER            WIRE   SINCE   SE       WE         OTHERS
istiod-1.istio-system   10.0.0.1:5000   xds    120m    SYNCED   NOT SENT   1 SYNCED, sidecars STALE
";
        assert_eq!(text, want);
    }

    #[test]
    fn verified_names_have_a_column_as_soon_as_anybody_has_one() {
        let known = ClientRow { identities: vec!["spiffe://d/ns/n/sa/a".into()], ..client(Vec::new()) };
        let text = tables(&[], &[known, client(Vec::new())], now(), false);
        let want = "\
CLIENT                  PEER            IDENTITY               WIRE   SINCE   SE   WE   OTHERS
istiod-1.istio-system   10.0.0.1:5000   spiffe://d/ns/n/sa/a   xds    120m    -    -    -
istiod-1.istio-system   10.0.0.1:5000   -                      xds    120m    -    -    -
";
        assert_eq!(text.split_once("\n\n").map_or(text.as_str(), |(_, clients)| clients), want);
    }

    #[test]
    fn a_nack_is_told_with_its_reason_and_makes_the_exit_code_1() {
        let clients = [client(vec![watch("serviceentries", SyncState::Nack)])];
        let text = tables(&[registry(true)], &clients, now(), false);
        assert!(text.contains("REASON\nistiod-1.istio-system   serviceentries   too long\n"), "{text}");
        assert!(!is_well(&[registry(true)], &clients));
        assert!(!is_well(&[registry(false)], &[]));
        assert!(is_well(&[registry(true)], &[client(vec![watch("serviceentries", SyncState::Stale)])]));
    }

    #[test]
    fn a_registry_that_is_done_without_is_told_from_one_that_is_waited_for() {
        let given_up = RegistryRow { given_up: true, ..registry(false) };
        assert!(registry_table(std::slice::from_ref(&given_up), now(), false).contains("given up"));
        assert!(!is_well(&[given_up], &[]), "it is not there, which somebody should know");
    }

    #[test]
    fn what_is_held_stands_there_with_its_reason_and_what_lets_it_go() {
        let held = HeldReport {
            registry: "prod".into(),
            service: "web".into(),
            endpoints: 3,
            reason: "it is so".into(),
            held_seconds: 75,
            confirmed: 1,
            confirm_reads: 2,
            ..HeldReport::default()
        };
        let frozen = AreaReport { registry: Some("prod".into()), service: None };
        let want = "
HELD   SERVICE   ENDPOINTS   FOR   GOES                 REASON
prod   web       3           75s   after 1 more reads   it is so

Frozen by hand, nothing is taken away there: prod
";
        assert_eq!(held_table(std::slice::from_ref(&held), &[frozen], false), want);
        assert_eq!(held_table(&[], &[], false), "");
        let all = |confirmed, remaining_seconds, frozen| {
            goes(&HeldReport { confirmed, remaining_seconds, frozen, ..held.clone() })
        };
        assert_eq!(
            (all(0, 60, false), all(2, 9, false)),
            ("after 2 more reads and 60s".into(), "in 9s".into())
        );
        assert_eq!(all(2, 0, true), "once thawed");
    }

    #[test]
    fn what_is_unread_is_named() {
        assert!(registry_table(&[registry(false)], now(), false).contains("no: dc1"));
    }

    #[test]
    fn ages_are_short() {
        for (s, text) in [
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (180, "3m"),
            (7200, "120m"),
            (90_000, "25h"),
            (200_000, "2d"),
        ] {
            assert_eq!(span(Duration::from_secs(s)), text);
        }
        assert_eq!(since("soon", now()), "soon");
        assert_eq!(since(&rfc3339(now() + Duration::from_secs(5)), now()), "0s");
    }

    /// Answers one connection with `answer`, whatever is asked.
    async fn ask_of(answer: &'static str) -> Result<Vec<RegistryRow>, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _read = socket.read(&mut [0; 1024]).await.unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        };
        let dial = DialArgs::default().read().unwrap();
        tokio::join!(ask(&address, &dial, "/api/v1/registries"), server).0
    }

    #[tokio::test]
    async fn what_is_no_chandler_is_told_apart() {
        let empty = ask_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
        assert_eq!(empty, Ok(Vec::new()));
        for (answer, words) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "is it a chandler?"),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404"),
            ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 17\r\n\r\n{\"error\": \"busy\"}", "busy"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        ] {
            let failure = ask_of(answer).await.unwrap_err().to_string();
            assert!(failure.contains(words), "{words} in {failure}");
        }
    }
}
