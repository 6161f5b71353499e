//! How it starts and how it ends.

use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{Chandler, PATIENCE, Place, Process, Sotw, eventually, free_address};
use crate::{SERVICES, WEB, web};

#[tokio::test]
async fn sigterm_drains_and_ends_well() {
    needs!(Probe);
    let mut chandler = web().await;
    // Each leaves at a moment of its own: with so many one is there for a while.
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
        client.response(SERVICES).await;
        clients.push(client);
    }
    chandler.process().signal("TERM").await;
    let telemetry = chandler.telemetry;
    eventually("the end of readiness", PATIENCE, async || {
        let answer = Place::Host.get(telemetry, "/readyz").await;
        (answer.expect("it answers while it drains").status == 503).then_some(())
    })
    .await;
    let mut late = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let (code, message) = late.closed().await;
    assert_eq!(code, "Unavailable", "{message}");
    assert!(message.contains("stopping"), "{message}");
    for client in &mut clients {
        let (code, message) = client.closed().await;
        assert_eq!(code, "Unavailable", "{message}");
    }
    assert_eq!(chandler.process().wait().await.code(), Some(0));
}

#[tokio::test]
async fn second_signal_cuts_the_drain_short() {
    needs!(Probe);
    let mut chandler = web().await;
    let mut clients: Vec<_> =
        (0..8).map(|_| Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES])).collect();
    for client in &mut clients {
        client.response(SERVICES).await;
    }
    chandler.process().signal("TERM").await;
    chandler.process().wait_for_log("stopping").await;
    chandler.process().signal("INT").await;
    assert_eq!(chandler.process().wait().await.code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_it_well() {
    let mut chandler = web().await;
    chandler.process().signal("INT").await;
    assert_eq!(chandler.process().wait().await.code(), Some(0));
}

#[tokio::test]
async fn port_in_use_is_told_with_its_key_and_ends_with_2() {
    let first = web().await;
    let dir = tempfile::tempdir().expect("a folder");
    for (key, address) in [
        ("server.listeners", first.grpc),
        ("telemetry.listen", first.telemetry),
        ("admin.listen", first.admin),
    ] {
        let place = |wanted: &str| if wanted == key { address.to_string() } else { "127.0.0.1:0".to_owned() };
        let config = format!(
            "server: {{listeners: [{{address: '{}'}}]}}\ntelemetry: {{listen: '{}'}}\nadmin: {{listen: '{}'}}\n\
             registries: [{{name: onboard, files: {{path: services}}}}]\n",
            place("server.listeners"),
            place("telemetry.listen"),
            place("admin.listen")
        );
        std::fs::write(dir.path().join("chandler.yaml"), config).expect("a file");
        let (status, output, said) =
            Chandler::command(&["serve", "--config", "chandler.yaml"], dir.path()).await;
        assert_eq!((status.code(), output.as_str()), (Some(2), ""), "{said}");
        assert!(said.contains(key) && said.contains(&address.to_string()), "{said}");
    }
}

/// What a service manager was told, one datagram at a time.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a line; the others are passed over.
    async fn told(&self, wanted: &str) -> Vec<String> {
        let mut passed = Vec::new();
        let listen = async {
            loop {
                let mut bytes = [0; 4096];
                let length = self.0.recv(&mut bytes).await.expect("a datagram");
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let found = text.lines().any(|line| line == wanted);
                passed.push(text);
                if found {
                    return;
                }
            }
        };
        let heard = timeout(PATIENCE, listen).await;
        assert!(heard.is_ok(), "never told {wanted}");
        passed
    }
}

#[tokio::test]
async fn service_manager_is_told_of_start_life_and_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).expect("a socket"));
    let mut chandler = Chandler::build()
        .service_file("web.yaml", WEB)
        .environment("NOTIFY_SOCKET", &socket.display().to_string())
        .environment("WATCHDOG_USEC", "400000")
        .start_unready();
    manager.told("READY=1").await;
    assert!(Place::Host.listens(chandler.grpc).await, "ready means that every socket is open");
    assert_eq!(chandler.telemetry("/readyz").await.status, 200);
    manager.told("WATCHDOG=1").await;
    manager.told("WATCHDOG=1").await;

    chandler.process().signal("HUP").await;
    manager.told("RELOADING=1").await;
    manager.told("READY=1").await;

    chandler.process().signal("TERM").await;
    manager.told("STOPPING=1").await;
    assert_eq!(chandler.process().wait().await.code(), Some(0));
}

#[tokio::test]
async fn stuck_process_gives_no_sign_of_life() {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).expect("a socket"));
    let mut chandler = Chandler::build()
        .environment("NOTIFY_SOCKET", &socket.display().to_string())
        .environment("WATCHDOG_USEC", "400000")
        .start_unready();
    manager.told("WATCHDOG=1").await;
    chandler.process().signal("STOP").await;
    // What was under way arrives; then there is silence.
    let mut bytes = [0; 4096];
    while timeout(Duration::from_secs(1), manager.0.recv(&mut bytes)).await.is_ok() {}
    chandler.process().signal("CONT").await;
    manager.told("WATCHDOG=1").await;
}

#[tokio::test]
async fn it_takes_as_many_open_files_as_it_may_have() {
    let dir = tempfile::tempdir().expect("a folder");
    let (grpc, telemetry, admin) = (free_address(), free_address(), free_address());
    let config = format!(
        "server: {{listeners: [{{address: '{grpc}'}}]}}\ntelemetry: {{listen: '{telemetry}'}}\nadmin: {{listen: '{admin}'}}\n\
         registries: [{{name: none, files: {{path: services}}}}]\n"
    );
    std::fs::write(dir.path().join("chandler.yaml"), config).expect("a configuration");
    // Few at first, and more for who asks.
    let script = "ulimit -Sn 200 && ulimit -Hn 3000 && exec \"$0\" serve --config chandler.yaml";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(Chandler::program()).current_dir(dir.path());
    let mut process = Process::start("chandler", command);
    let ready = async || Place::Host.get(telemetry, "/readyz").await.is_some_and(|a| a.status == 200);
    process.ready("readiness", ready).await;
    let metrics = Place::Host.get(telemetry, "/metrics").await.expect("metrics").body;
    assert!(metrics.lines().any(|line| line == "process_max_fds 3000"), "{metrics}");
    process.wait_for_log("fewer files may be open than server.limits.streams needs").await;
}
