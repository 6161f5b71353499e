//! The probe's subcommands: each writes JSON lines, which the test reads as they come.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::need::Need;
use super::place::Place;
use super::process::{Process, STARTING, eventually};

/// A running probe. Its output goes to a file, so that a test that does not read holds nothing up.
#[derive(Debug)]
pub struct Probe {
    process: Process,
    output: PathBuf,
    read: u64,
    /// Bytes of a line that has not ended yet.
    partial: Vec<u8>,
    lines: std::collections::VecDeque<Value>,
}

impl Probe {
    /// `probe ARGUMENTS…` in `place`.
    pub fn start<S: AsRef<OsStr>>(place: &Place, arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_program_in(place, &Need::Probe.program(), arguments)
    }

    /// Another program of ours that writes lines and takes instructions in the same way.
    pub fn start_program<S: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_program_in(&Place::Host, program, arguments)
    }

    /// The same in `place`.
    pub fn start_program_in<S: AsRef<OsStr>>(
        place: &Place,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let arguments: Vec<_> = arguments.into_iter().map(|one| one.as_ref().to_owned()).collect();
        let program_name = program.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{program_name}-{}", arguments[0].to_string_lossy());
        let mut command = place.command(program);
        command.args(&arguments);
        let (process, output) = Process::start_with_output(&name, command);
        Self { process, output, read: 0, partial: Vec::new(), lines: std::collections::VecDeque::new() }
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its working directory.
    pub fn dir(&self) -> &std::path::Path {
        self.process.dir()
    }

    /// The next line, if it is there already.
    pub fn poll(&mut self) -> Option<Value> {
        if self.lines.is_empty() {
            self.fetch();
        }
        self.lines.pop_front()
    }

    fn fetch(&mut self) {
        let mut file = std::fs::File::open(&self.output).expect("the probe's output");
        file.seek(SeekFrom::Start(self.read)).expect("its end");
        let mut bytes = std::mem::take(&mut self.partial);
        self.read += u64::try_from(file.read_to_end(&mut bytes).expect("its output")).expect("a length");
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.partial = bytes.split_off(whole);
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.lines.push_back(serde_json::from_slice(line).expect("the probe writes JSON"));
        }
    }

    /// The next line.
    ///
    /// # Panics
    /// If none comes in time, or if the probe ends first.
    pub async fn next(&mut self) -> Value {
        self.next_where("a line", |_| true).await
    }

    /// The next line of the kind that `wanted` accepts; those before it are passed over.
    pub async fn next_where(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut passed = Vec::new();
        let waited_for = format!("{what} from the probe");
        eventually(&waited_for, STARTING, async || {
            // Its state first: what it wrote before it ended is then in the file.
            let ended = self.process.exited();
            while let Some(line) = self.poll() {
                if wanted(&line) {
                    return Some(line);
                }
                passed.push(line);
            }
            if let Some(status) = ended {
                panic!("the probe ended ({status}) before {what}; it had said {passed:#?}");
            }
            None
        })
        .await
    }

    /// All lines that come within `time`: for showing that nothing comes, which only time can show.
    pub async fn during(&mut self, time: Duration) -> Vec<Value> {
        tokio::time::sleep(time).await;
        self.so_far()
    }

    /// All lines that are there and were not read yet.
    pub fn so_far(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.poll()).collect()
    }

    /// The end of the stream, when the server ends it: gRPC code and message.
    pub async fn closed(&mut self) -> (String, String) {
        let line = self.next_where("the end of the stream", |line| line["event"] == "closed").await;
        (text(&line["code"]), text(&line["message"]))
    }

    /// Sends an instruction, such as `subscribe a,b`.
    pub async fn tell(&mut self, instruction: &str) {
        let line = format!("{instruction}\n");
        self.process.input().write_all(line.as_bytes()).await.expect("the probe reads its input");
    }

    /// Ends it with SIGTERM and returns what it had not been asked for yet.
    pub async fn stop(&mut self) -> Vec<Value> {
        let status = self.process.terminate().await;
        assert!(status.success(), "the probe ended with {status}");
        self.so_far()
    }
}

/// Wraps a probe of one kind; everything that a [`Probe`] can do is there as well.
macro_rules! kind_of_probe {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Probe);

        impl std::ops::Deref for $name {
            type Target = Probe;
            fn deref(&self) -> &Probe {
                &self.0
            }
        }

        impl std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Probe {
                &mut self.0
            }
        }
    };
}

kind_of_probe! {
    /// A state-of-the-world client. Lines: `response` (type_url, version_info, nonce, count, bytes, sha256, resources,
    /// applied{created, updated, deleted, n_…, unchanged}, nacked), `closed` (code, message), `end`. Tell it `names a,b`,
    /// `again TYPE`, `request TYPE,TYPE`, `stray TYPE` or `half-close`.
    Sotw
}

impl Sotw {
    /// `probe sotw -server SERVER FLAGS…`.
    pub fn start(place: &Place, server: SocketAddr, flags: &[&str]) -> Self {
        Self(with_server(place, "sotw", server, flags))
    }

    /// The next response of this type URL.
    pub async fn response(&mut self, type_url: &str) -> Value {
        self.next_where(&format!("a response for {type_url}"), |line| line["type_url"] == type_url).await
    }

    /// Sends one message of these bytes (hexadecimal), whatever they mean: see [`Probe::closed`] for what comes of it.
    pub fn garbage(place: &Place, server: SocketAddr, hexadecimal: &str) -> Self {
        Self(with_server(place, "garbage", server, &["-bytes", hexadecimal]))
    }
}

kind_of_probe! {
    /// A delta client. Lines: `response` (type_url, system_version, nonce, count, bytes, added[{name, version, resource}],
    /// removed, nacked), `closed`, `end`. Tell it `subscribe a,b` or `unsubscribe a,b`.
    Delta
}

impl Delta {
    /// `probe delta -server SERVER FLAGS…`.
    pub fn start(place: &Place, server: SocketAddr, flags: &[&str]) -> Self {
        Self(with_server(place, "delta", server, flags))
    }

    /// The next response.
    pub async fn response(&mut self) -> Value {
        self.next_where("a response", |line| line["event"] == "response").await
    }
}

kind_of_probe! {
    /// A sidecar as istiod sees it. Lines: `response` (type: CDS, EDS, LDS, RDS or NDS; version, nonce, count, names,
    /// detail), `closed`, `end`.
    Sidecar
}

impl Sidecar {
    /// `probe sidecar -server ISTIOD FLAGS…`.
    pub fn start(place: &Place, istiod: SocketAddr, flags: &[&str]) -> Self {
        Self(with_server(place, "sidecar", istiod, flags))
    }

    /// The next response of a kind (`CDS`, `EDS`, …).
    pub async fn response(&mut self, kind: &str) -> Value {
        self.next_where(&format!("a response of {kind}"), |line| line["type"] == kind).await
    }

    /// Waits for endpoints of `cluster` that `accept` approves of; each is `{address, port, weight, locality, tls, …}`.
    pub async fn endpoints(&mut self, cluster: &str, accept: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let find = |line: &Value| -> Option<Vec<Value>> {
            let clusters = (line["type"] == "EDS").then(|| line["detail"].as_array())??;
            clusters.iter().find(|one| one["cluster"] == cluster)?["endpoints"].as_array().cloned()
        };
        let line = self
            .next_where(&format!("other endpoints of {cluster}"), |line| {
                find(line).is_some_and(|found| accept(&found))
            })
            .await;
        find(&line).expect("it was there a moment ago")
    }
}

kind_of_probe! {
    /// Calls, one after another, until it is stopped. Lines: `answer` (status, body, json, ms), `failed` (error, ms).
    Calls
}

impl Calls {
    /// HTTP calls to `url`, connecting to `connect` whatever the URL says.
    pub fn http(place: &Place, url: &str, connect: SocketAddr, every: Duration) -> Self {
        let every = format!("{}us", every.as_micros());
        Self(Probe::start(place, ["call", "-url", url, "-connect", &connect.to_string(), "-every", &every]))
    }

    /// HTTP calls to `url`, whose host the DNS server there resolves, anew for each call.
    pub fn resolved_by(place: &Place, dns: SocketAddr, url: &str, every: Duration) -> Self {
        let every = format!("{}us", every.as_micros());
        Self(Probe::start(place, ["call", "-url", url, "-dns", &dns.to_string(), "-every", &every]))
    }

    /// A line over TCP each.
    pub fn tcp(place: &Place, connect: SocketAddr, every: Duration) -> Self {
        let every = format!("{}us", every.as_micros());
        Self(Probe::start(place, ["call", "-tcp", "-connect", &connect.to_string(), "-every", &every]))
    }

    /// One HTTP call: what the backend said of itself, or what went wrong.
    pub async fn one_http(place: &Place, url: &str, connect: SocketAddr) -> Result<Value, String> {
        one(Probe::start(place, ["call", "-url", url, "-connect", &connect.to_string()])).await
    }

    /// One line over TCP: what the backend said of itself, or what went wrong.
    pub async fn one_tcp(place: &Place, connect: SocketAddr) -> Result<Value, String> {
        one(Probe::start(place, ["call", "-tcp", "-connect", &connect.to_string()])).await
    }

    /// Waits until a call was answered by the backend of this name.
    pub async fn answered_by(&mut self, name: &str) -> Value {
        self.next_where(&format!("an answer of {name}"), |line| line["json"]["name"] == name).await
    }
}

async fn one(mut probe: Probe) -> Result<Value, String> {
    let line = probe.next().await;
    match line["event"].as_str() {
        Some("answer") if line["json"].is_object() => Ok(line["json"].clone()),
        Some("answer") => Err(format!("status {}: {}", line["status"], text(&line["body"]).trim())),
        _ => Err(text(&line["error"])),
    }
}

fn with_server(place: &Place, subcommand: &str, server: SocketAddr, flags: &[&str]) -> Probe {
    let server = server.to_string();
    Probe::start(place, [subcommand, "-server", &server].into_iter().chain(flags.iter().copied()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Counts of a caller's lines: by the name of who answered, else by the status or by what went wrong.
pub fn tally(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let name = line["json"]["name"].as_str().or_else(|| line["name"].as_str());
        let said = match (name, line["error"].as_str()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(error)) => error.to_owned(),
            (None, None) => format!("status {}", line["status"]),
        };
        *counts.entry(said).or_default() += 1;
    }
    counts
}
