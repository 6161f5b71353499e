//! A real ZooKeeper: one server, or three. Its data outlives it until the test ends; sessions may be as short as a second.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use zookeeper_client as zk;

use super::need::Need;
use super::place::{Place, free_address, free_port};
use super::process::{PATIENCE, Process, eventually, scratch};

/// Sessions last from 2 to 20 ticks.
const TICK: Duration = Duration::from_millis(500);

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct ZooKeeperBuilder {
    lines: Vec<String>,
    options: Vec<String>,
    place: Place,
}

impl ZooKeeperBuilder {
    /// A further line of `zoo.cfg`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// An option of the Java machine: `-Dzookeeper.…=…`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    #[must_use]
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// One server, when it serves.
    pub async fn start(self) -> ZooKeeper {
        let mut server = ZooKeeper::new(self);
        server.run();
        server.ready().await;
        server
    }

    /// Three servers, when they have a leader.
    pub async fn start_three(self) -> Vec<ZooKeeper> {
        let peers: Vec<String> =
            (1..=3).map(|n| format!("server.{n}=127.0.0.1:{}:{}", free_port(), free_port())).collect();
        let builder =
            peers.iter().fold(self, |b, peer| b.line(peer)).line("initLimit=20").line("syncLimit=10");
        let mut servers: Vec<ZooKeeper> = (0..3).map(|_| ZooKeeper::new(builder.clone())).collect();
        for (n, server) in servers.iter_mut().enumerate() {
            std::fs::write(server.dir.path().join("data/myid"), format!("{}\n", n + 1)).expect("a file");
            server.run();
        }
        for server in &mut servers {
            server.ready().await;
        }
        servers
    }
}

/// Which of `servers` leads.
pub fn zookeeper_leader(servers: &[ZooKeeper]) -> Option<usize> {
    servers.iter().position(|s| s.says("srvr").is_some_and(|text| text.contains("Mode: leader")))
}

/// A server.
#[derive(Debug)]
pub struct ZooKeeper {
    builder: ZooKeeperBuilder,
    address: SocketAddr,
    process: Option<Process>,
    dir: TempDir,
}

impl ZooKeeper {
    pub fn build() -> ZooKeeperBuilder {
        ZooKeeperBuilder::default()
    }

    fn new(builder: ZooKeeperBuilder) -> Self {
        let dir = scratch("zookeeper");
        std::fs::create_dir(dir.path().join("data")).expect("a folder");
        Self { builder, address: free_address(), process: None, dir }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn run(&mut self) {
        let config = self.dir.path().join("zoo.cfg");
        let mut text = format!(
            "tickTime={}\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\nmaxClientCnxns=0\nextendedTypesEnabled=true\n",
            TICK.as_millis(),
            self.dir.path().join("data").display(),
            self.address.port()
        );
        self.builder.lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
        std::fs::write(&config, text).expect("a file");
        let mut command = self.builder.place.command(&Need::ZooKeeper.program());
        // Nothing here has to outlive the machine.
        command.arg(&config).arg("-Dzookeeper.forceSync=no").args(&self.builder.options);
        self.process = Some(Process::start("zookeeper", command));
    }

    /// Waits until it serves: `ruok` answers too early.
    pub async fn ready(&mut self) {
        let (place, address) = (self.builder.place.clone(), self.address);
        let ready = async || four_letters(&place, address, "srvr").is_some_and(|text| text.contains("Mode:"));
        self.process().ready("a mode", ready).await;
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it is running")
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.process().kill().await;
    }

    /// Starts it again after its end, on the same port, with its data or with none.
    pub async fn start_again(&mut self, with_data: bool) {
        assert!(self.process().exited().is_some(), "end it first");
        if !with_data {
            std::fs::remove_dir_all(self.dir.path().join("data/version-2")).expect("its data");
        }
        self.run();
        self.ready().await;
    }

    /// The answer to one of its four-letter words.
    pub fn says(&self, word: &str) -> Option<String> {
        four_letters(&self.builder.place, self.address, word)
    }

    /// A number of `mntr`.
    pub fn metric(&self, name: &str) -> Option<u64> {
        let text = self.says("mntr")?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Waits until it knows so many sessions.
    pub async fn sessions(&self, count: u64) {
        let what = format!("{count} sessions");
        eventually(&what, PATIENCE, async || (self.metric("zk_global_sessions")? == count).then_some(()))
            .await;
    }

    /// A client of its own, which writes. Not into a namespace.
    pub async fn client(&self) -> zk::Client {
        let address = self.address.to_string();
        eventually("a session", PATIENCE, async || zk::Client::connect(&address).await.ok()).await
    }
}

fn four_letters(place: &Place, address: SocketAddr, word: &str) -> Option<String> {
    if matches!(place, Place::Namespace(_)) {
        let script = "exec 3<>\"/dev/tcp/$0/$1\" && printf %s \"$2\" >&3 && exec timeout 2 cat <&3";
        let mut command = place.command(Path::new("bash"));
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let output = command.as_std_mut().args(["-c", script, &ip, &port, word]).output().ok()?;
        return Some(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
