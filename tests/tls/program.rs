//! The program, its configuration and its commands.

use std::net::SocketAddr;

use chandler::security::tls::client::OwnFiles;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::authority::{Authority, EXPIRED, GOOD, write};
use crate::support::{Chandler, PATIENCE, Place, Process, eventually, free_address};

pub(crate) const ISTIOD: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";
const SECRET: &str = "0123456789abcdef";

/// A folder with certificates of `localhost`, a configuration with TLS everywhere, and the program if it runs.
pub(crate) struct Program {
    dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) grpc: SocketAddr,
    telemetry: SocketAddr,
    admin: SocketAddr,
    process: Option<Process>,
}

const ACCESS: &str = "
    - {from: {spiffe: 'spiffe://*/ns/istio-system/sa/*'}, collections: ['*']}
    - {from: {tokenFile: readers}, collections: [serviceentries]}
";

impl Program {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("ours");
        write(dir.path(), "ca.crt", &authority.pem);
        write(dir.path(), "readers", SECRET);
        authority.issue(&["localhost"], GOOD).write(dir.path(), "server");
        let text = "services: [{name: web, hosts: [web.example], endpoints: [{address: 10.0.0.1}], ports: [{number: 80}]}]";
        write(dir.path(), "services.yaml", text);
        let (grpc, telemetry, admin) = (free_address(), free_address(), free_address());
        let program = Self { dir, authority, grpc, telemetry, admin, process: None };
        program.configure(ACCESS);
        program
    }

    pub(crate) fn configure(&self, access: &str) {
        let tls = "tls: {certFile: server.crt, keyFile: server.key, clientCaFile: ca.crt}";
        let Self { grpc, telemetry, admin, .. } = self;
        let text = format!(
            "server:\n  listeners:\n  - address: '{grpc}'\n    {tls}\n    access:{access}\n\
             admin:\n    listen: '{admin}'\n    {tls}\n    access:{access}\n\
             telemetry: {{listen: '{telemetry}'}}\nstate: off\nregistries: [{{name: onboard, files: {{path: services.yaml}}}}]\n"
        );
        write(self.dir.path(), "new.yaml", &text);
        std::fs::rename(self.dir.path().join("new.yaml"), self.dir.path().join("chandler.yaml")).unwrap();
    }

    pub(crate) async fn start() -> Self {
        let mut program = Self::new();
        let mut command = Command::new(Chandler::program());
        command.args(["serve", "--config", "chandler.yaml"]).current_dir(program.dir.path());
        let mut process = Process::start("chandler", command);
        let telemetry = program.telemetry;
        let synced = async || Place::Host.get(telemetry, "/syncz").await.is_some_and(|a| a.status == 200);
        process.ready("its first reads", synced).await;
        program.process = Some(process);
        program
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        Place::Host.get(self.telemetry, "/metrics").await.expect("metrics").body
    }

    /// Runs a command in the folder: its exit code, what it printed, and of what it complained.
    async fn run(&self, line: &str) -> (Option<i32>, String, String) {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let (status, out, complaints) = Chandler::command(&arguments, self.dir.path()).await;
        (status.code(), out, complaints)
    }

    async fn get(&self, options: &str) -> (Option<i32>, String, String) {
        self.run(&format!("get se --server localhost:{} {options}", self.grpc.port())).await
    }

    pub(crate) async fn status(&self, options: &str) -> (Option<i32>, String, String) {
        self.run(&format!("status --admin localhost:{} {options}", self.admin.port())).await
    }

    pub(crate) fn client(&self, name: &str) -> OwnFiles {
        self.authority.issue(&[name], GOOD).write(self.dir.path(), "client")
    }
}

pub(crate) const SHOWN: &str = "--ca ca.crt --cert client.crt --key client.key";

#[tokio::test]
async fn who_is_known_gets_and_others_are_told_what_to_do() {
    let program = Program::start().await;
    program.client(ISTIOD);
    for ask in [program.get(SHOWN).await, program.status(SHOWN).await] {
        assert_eq!(ask.0, Some(0), "{ask:?}");
    }
    assert!(program.get(SHOWN).await.1.contains("web.example"));
    for options in ["--ca ca.crt --token-file readers", "--insecure-skip-verify --token-file readers"] {
        assert_eq!(program.get(options).await.0, Some(0));
        assert_eq!(program.status(options).await.0, Some(0));
    }
    assert!(program.status("--insecure-skip-verify").await.2.contains("Warning: --insecure-skip-verify"));

    for (options, words) in [
        ("--ca ca.crt", "show a client certificate or a bearer token"),
        ("--ca readers", "readers: holds no certificate"),
        ("--ca ca.crt --server-name other.example", "other.example"),
        ("--ca ca.crt --token-file ca.crt", "known here to nobody"),
        ("--tls", "not believed here"),
        ("", "this port speaks TLS"),
    ] {
        for (code, _, complaint) in [program.get(options).await, program.status(options).await] {
            assert!(code.is_some_and(|c| c > 0) && complaint.contains(words), "{options}: {complaint}");
            assert!(!complaint.contains(SECRET), "{complaint}");
        }
    }
    program.client("spiffe://cluster.local/ns/default/sa/istiod");
    assert!(program.get(SHOWN).await.2.contains("known here to nobody"));
    assert!(program.status(SHOWN).await.2.contains("403"));
    let metrics = program.metrics().await;
    assert!(metrics.contains("chandler_admin_requests_refused_total"), "{metrics}");
}

#[tokio::test]
async fn it_says_which_listener_has_which_certificate_and_who_may_come() {
    let mut program = Program::start().await;
    let grpc = program.grpc;
    let line = format!(
        "{grpc}   TLS as localhost until 2099-01-01, client certificates optional; 2 rules of access"
    );
    program.process().wait_for_log(&line).await;
    let (code, checked, _) = program.run("check --config chandler.yaml").await;
    let want = format!(
        "\n{grpc}\n  TLS as localhost until 2099-01-01, client certificates optional\n  \
         spiffe://*/ns/istio-system/sa/*: everything\n  a token of readers: serviceentries\n  nobody else\n"
    );
    assert!(code == Some(0) && checked.contains(&want), "{checked}");
    let (_, _, complaints) = program.run("check --config chandler.yaml").await;
    assert_eq!(complaints, "");
}

#[tokio::test]
async fn a_bad_first_file_ends_it_with_2_and_all_of_them_are_named() {
    let program = Program::new();
    std::fs::remove_file(program.dir.path().join("server.key")).unwrap();
    for line in ["serve --config chandler.yaml", "check --config chandler.yaml"] {
        let (code, _, complaint) = program.run(line).await;
        assert_eq!(code, Some(2), "{complaint}");
        assert_eq!(complaint.matches("server.key: no such file").count(), 2, "{complaint}");
        for address in [program.grpc, program.admin] {
            assert!(complaint.contains(&address.to_string()), "{complaint}");
        }
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not() {
    let mut program = Program::start().await;
    let other = Authority::new("other");
    write(program.dir.path(), "other.crt", &other.pem);
    other.issue(&["localhost"], GOOD).write(program.dir.path(), "server");
    let options = "--ca other.crt --token-file readers";
    eventually("the new certificate", PATIENCE, async || {
        (program.get(options).await.0 == Some(0)).then_some(())
    })
    .await;
    program.authority.issue(&["localhost"], EXPIRED).write(program.dir.path(), "server");
    // The log may have spoken before, of the new certificate beside the old key: the two are not written at once.
    let stale = "chandler_security_file_stale{file=\"server.crt\"} 1";
    eventually(stale, PATIENCE, async || program.metrics().await.contains(stale).then_some(())).await;
    program.process().wait_for_log("what was read before stays").await;
    assert_eq!(program.get(options).await.0, Some(0));
}

#[tokio::test]
async fn rules_change_while_it_runs_and_tokens_that_are_gone_stay() {
    let mut program = Program::start().await;
    let with_token = "--ca ca.crt --token-file token";
    write(program.dir.path(), "token", SECRET);
    std::fs::remove_file(program.dir.path().join("readers")).unwrap();
    program.process().wait_for_log("readers: no such file").await;
    assert_eq!(program.get(with_token).await.0, Some(0));

    program.configure(" [{from: {spiffe: 'spiffe://other/*'}, collections: ['*']}]");
    program.process().wait_for_log("settings: server.listeners, admin").await;
    for ask in [program.get(with_token).await, program.status(with_token).await] {
        assert!(ask.0 == Some(1) && ask.2.contains("known here to nobody"), "{ask:?}");
    }
    // A file that is not there: nothing of the new configuration holds.
    let before = std::fs::read_to_string(program.dir.path().join("chandler.yaml")).unwrap();
    write(
        program.dir.path(),
        "chandler.yaml",
        &before.replace("server.key", "gone.key").replace("//other/", "//b/"),
    );
    program.process().wait_for_log("gone.key: no such file").await;
    program.client("spiffe://other/x");
    assert_eq!(program.get(SHOWN).await.0, Some(0));
}

#[tokio::test]
async fn connections_that_come_to_nothing_leave_nothing_behind() {
    let program = Program::start().await;
    let open_files = async || {
        let metrics = program.metrics().await;
        let line =
            metrics.lines().find_map(|l| l.strip_prefix("process_open_fds ")).expect("the metric").to_owned();
        line.parse::<u32>().unwrap()
    };
    // A file of our own may be open at one look and not at the other.
    let enough = open_files().await + 20;
    let mut sockets = Vec::new();
    for i in 0..150_u8 {
        for address in [program.grpc, program.admin] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let bytes: &[u8] = match i % 3 {
                0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                1 => &[0x16, 3, 1, 0, 5, 99],
                _ => b"",
            };
            socket.write_all(bytes).await.unwrap();
            sockets.push(socket);
        }
    }
    program.client(ISTIOD);
    assert_eq!(program.get(SHOWN).await.0, Some(0), "the others hold up nobody");
    drop(sockets);
    eventually("the end of all that", PATIENCE, async || (open_files().await <= enough).then_some(())).await;
    eventually("nobody to be counted as a client", PATIENCE, async || {
        (!program.metrics().await.contains("chandler_clients{")).then_some(())
    })
    .await;
}
