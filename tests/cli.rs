//! The program as its users meet it: words, streams and exit codes.

use std::io::{self, BufRead};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use tokio::net::TcpSocket;

fn chandler(args: &[&str]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_chandler"))
        .args(args)
        // What the developer has set is no part of the test.
        .env_remove("RUST_LOG")
        .env_remove("CHANDLER_CONFIG")
        .stdin(Stdio::null())
        .output()
}

fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// A port at which nobody listens, and nobody else can begin to while the socket is held.
fn refused() -> io::Result<(TcpSocket, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let address = socket.local_addr()?.to_string();
    Ok((socket, address))
}

#[test]
fn help_names_every_command_and_the_first_steps() {
    let out = chandler(&["--help"]).unwrap();
    assert_eq!(out.status.code(), Some(0));
    for word in ["serve", "check", "render", "get", "status", "The first five minutes", "Exit codes"] {
        assert!(stdout(&out).contains(word), "{word} in {}", stdout(&out));
    }
    assert!(!stdout(&out).contains("completions"), "hidden");
    assert_eq!(stderr(&out), "");
}

#[test]
fn options_stand_under_the_heading_that_they_belong_to() {
    for (command, own) in [("get", "--wire"), ("status", "--output")] {
        let out = stdout(&chandler(&[command, "--help"]).unwrap());
        let (before, _) = out.split_once("Security:").expect("a heading");
        assert!(before.contains(own), "{own} in {out}");
    }
}

#[test]
fn the_version_names_the_revision() {
    let out = chandler(&["--version"]).unwrap();
    let long = format!("chandler {} (", env!("CARGO_PKG_VERSION"));
    assert!(stdout(&out).starts_with(&long), "{}", stdout(&out));
}

#[test]
fn a_wrong_call_is_exit_code_2_and_says_what_is_wrong() {
    for (args, words) in [
        (&[][..], "Usage: chandler"),
        (&["serv"], "serve"),
        (&["get", "--sever", "x"], "--server"),
        (&["get", "nonsense"], "serviceentries (se)"),
        (&["get", "-o", "xml"], "yaml"),
        (&["get", "--timeout", "5h"], "10s"),
        (&["get", "--server", "not a host"], "HOST:PORT"),
        (&["check", "--timeout", "5s"], "--connect"),
        (&["check", "--config", "/nowhere/chandler.yaml"], "/nowhere/chandler.yaml"),
        (&["man", "nonsense"], "nonsense"),
        (&["get", "--log-level", "chandler=loud"], "chandler=loud"),
    ] {
        let out = chandler(args).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{words} in {}", stderr(&out));
        assert_eq!(stdout(&out), "", "{args:?}");
    }
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let out = chandler(&["completions", "bash"]).unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert!(stdout(&out).contains("complete -F _chandler"), "{}", stdout(&out));
    for (args, title) in [(&["man"][..], ".TH chandler 1"), (&["man", "get"], ".TH chandler-get 1")] {
        let out = chandler(args).unwrap();
        assert_eq!(out.status.code(), Some(0));
        assert!(stdout(&out).contains(title), "{}", stdout(&out));
    }
}

#[test]
fn a_refused_port_is_exit_code_1_and_says_what_to_do() {
    let (_held, server) = refused().unwrap();
    for (args, option) in [
        (&["get", "se", "--server", &server][..], "--server"),
        (&["get", "--wire", "delta", "--server", &server], "--server"),
        (&["status", "--admin", &server], "--admin"),
    ] {
        let out = chandler(args).unwrap();
        assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
        let words = stderr(&out);
        assert!(words.starts_with(&format!("Error: nothing listens at {server}")), "{words}");
        assert!(words.contains("chandler serve") && words.contains(option), "{words}");
        assert_eq!(words.lines().count(), 1, "{words}");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chandler"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), stderr(&out).as_str()), (Some(0), ""));
}

#[test]
fn nothing_is_coloured_where_nobody_sees_it() {
    for args in [&["--help"][..], &["get", "nonsense"]] {
        let out = chandler(args).unwrap();
        assert!(!stdout(&out).contains('\x1b') && !stderr(&out).contains('\x1b'), "{args:?}");
    }
}

/// A configuration over one services file, listening wherever there is room.
fn configured(services: &str) -> io::Result<(tempfile::TempDir, String)> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("services"))?;
    std::fs::write(dir.path().join("services/all.yaml"), services)?;
    let config = "server: {listeners: [{address: '127.0.0.1:0'}]}\ntelemetry: {listen: '127.0.0.1:0'}\n\
                  admin: {listen: '127.0.0.1:0'}\nregistries:\n- name: onboard\n  files: {path: services}\n";
    let file = dir.path().join("chandler.yaml");
    std::fs::write(&file, config)?;
    Ok((dir, file.display().to_string()))
}

const BILLING: &str = "services:\n- name: billing\n  hosts: [billing.example]\n  \
                       ports: [{number: 8080, protocol: HTTP}]\n  endpoints: [{address: 10.0.0.5}]\n";

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let (_dir, file) = configured(BILLING).unwrap();
    let out = chandler(&["check", "-c", &file]).unwrap();
    assert_eq!((out.status.code(), stdout(&out)), (Some(0), format!("{file}: the configuration is right\n")));
    let out = chandler(&["check", "--connect", "-c", &file]).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stdout(&out).contains("onboard    yes    1          1"), "{}", stdout(&out));
    assert!(stdout(&out).contains("sees all of it: about 1."), "{}", stdout(&out));
}

#[test]
fn a_fault_of_the_configuration_is_exit_code_2_and_begins_with_its_place() {
    let (dir, file) = configured(BILLING).unwrap();
    std::fs::write(dir.path().join("chandler.yaml"), "registries:\n- name: a\n  flies: {path: x}\n").unwrap();
    for args in [&["check"][..], &["check", "--connect"], &["render"], &["serve"]] {
        let out = chandler(&[args, &["--config", &file]].concat()).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).starts_with(&format!("{file}:")), "{}", stderr(&out));
        assert!(stderr(&out).contains("files"), "did you mean: {}", stderr(&out));
        assert_eq!(stdout(&out), "");
    }
}

#[test]
fn what_would_be_refused_makes_check_end_with_1() {
    let (_dir, file) =
        configured(&BILLING.replace("number: 8080", "number: 8080, name: 'bad name'")).unwrap();
    let out = chandler(&["check", "--connect", "-c", &file]).unwrap();
    assert_eq!(out.status.code(), Some(1), "{}{}", stdout(&out), stderr(&out));
}

#[test]
fn render_prints_the_same_objects_every_time() {
    let (_dir, file) = configured(BILLING).unwrap();
    let out = chandler(&["render", "-c", &file]).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let text = stdout(&out);
    assert!(
        text.starts_with("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: chandler\n---\n"),
        "{text}"
    );
    assert!(text.contains("kind: ServiceEntry\n") && text.contains("  - billing.example\n"), "{text}");
    assert_eq!(stdout(&chandler(&["render", "-c", &file]).unwrap()), text);
    let table = chandler(&["render", "-c", &file, "-o", "table"]).unwrap();
    assert!(stdout(&table).contains("8080/HTTP"), "{}", stdout(&table));
}

#[test]
fn a_port_in_use_is_exit_code_2_and_names_the_key() {
    let (dir, file) = configured(BILLING).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = std::fs::read_to_string(&file).unwrap();
    let admin = format!("admin: {{listen: '{}'}}", taken.local_addr().unwrap());
    let config = config.replace("admin: {listen: '127.0.0.1:0'}", &admin);
    std::fs::write(dir.path().join("chandler.yaml"), config).unwrap();
    let out = chandler(&["serve", "-c", &file]).unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", stderr(&out));
    assert!(stderr(&out).contains("Error: admin.listen"), "{}", stderr(&out));
    assert_eq!(stdout(&out), "");
}

/// The words with which `serve` begins, up to the line to type next.
fn greeting(from: impl io::Read) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    for line in io::BufReader::new(from).lines() {
        lines.push(line?);
        if lines.last().is_some_and(|l| l.contains("get serviceentries")) {
            break;
        }
    }
    Ok(lines)
}

#[test]
fn serve_says_where_it_listens_and_get_and_status_find_it_there() {
    let (_dir, file) = configured(BILLING).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_chandler"))
        .args(["serve", "--log-format", "json", "-c", &file])
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = greeting(server.stdout.take().unwrap()).unwrap();
    let after = |what: &str| {
        let line =
            lines.iter().find_map(|l| l.trim().strip_prefix(what)).unwrap_or_else(|| panic!("{lines:?}"));
        line.trim().trim_start_matches("http://").trim_end_matches('/').to_string()
    };
    // It does not wait for the first reads for ever: on a busy machine they come after the words.
    let known = ["1 service, 1 endpoint", "not read yet: see `chandler status`"];
    assert!(known.contains(&&*after("onboard")), "{lines:?}");
    for wire in ["xds", "delta"] {
        let out = chandler(&["get", "se", "--wire", wire, "--server", &after("gRPC"), "-o", "name"]).unwrap();
        assert_eq!(stdout(&out), "serviceentry.networking.istio.io/billing.example\n", "{}", stderr(&out));
    }
    let out = chandler(&["get", "se", "x", "--server", &after("gRPC")]).unwrap();
    assert_eq!(
        (out.status.code(), stderr(&out)),
        (Some(1), "Error: serviceentries \"x\" not found\n".into())
    );
    let out = chandler(&["status", "--admin", &after("admin")]).unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stdout(&out).contains("onboard    yes   yes"), "{}", stdout(&out));

    let term = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(term.success());
    let out = server.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stderr(&out).lines().all(|l| l.starts_with('{')), "{}", stderr(&out));
}
