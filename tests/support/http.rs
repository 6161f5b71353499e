//! HTTP/1.1 by hand: a client library would hide what the server did, and follow, retry or decompress unasked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::need::Need;
use super::place::Place;

/// How long one answer may take: longer than any blocking query of a test, and than a busy machine needs for it.
const LIMIT: Duration = Duration::from_secs(60);

/// What an HTTP server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// By lower-case name; of several of one name, one.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), status {}: {:.500}", self.status, self.body))
    }

    /// The body as JSON, of an answer that must be a success.
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "status {}: {:.500}", self.status, self.body);
        if self.body.trim().is_empty() { Value::Null } else { self.json() }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// How long the answer may take.
    pub limit: Duration,
}

impl Ask {
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: String::new(), limit: LIMIT }
    }

    /// For servers that take a connection and say nothing.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, media_type: &str, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.header("Content-Type", media_type)
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    fn send(&self, stream: &mut TcpStream, host: SocketAddr, last: bool) -> std::io::Result<()> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n",
            self.method,
            self.path,
            self.body.len()
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(if last { "Connection: close\r\n\r\n" } else { "\r\n" });
        stream.write_all(format!("{head}{}", self.body).as_bytes())
    }
}

impl Place {
    /// One request to a server that runs here; nothing if no answer came.
    pub async fn ask(&self, address: SocketAddr, ask: Ask) -> Option<Answer> {
        match self {
            Self::Host => {
                let exchange = tokio::task::spawn_blocking(move || exchange(address, &[ask]));
                exchange.await.expect("it does not panic").ok()?.pop()
            }
            Self::Namespace(_) => self.ask_from_within(address, &ask).await,
        }
    }

    /// The same over one connection for all, in their order; the rest is missing where the connection ended.
    pub async fn ask_all(&self, address: SocketAddr, asks: Vec<Ask>) -> Vec<Answer> {
        assert!(matches!(self, Self::Host), "in a namespace one by one");
        let exchange = tokio::task::spawn_blocking(move || exchange(address, &asks));
        exchange.await.expect("it does not panic").unwrap_or_default()
    }

    async fn ask_from_within(&self, address: SocketAddr, ask: &Ask) -> Option<Answer> {
        let mut command = self.command(&Need::Probe.program());
        let url = format!("http://{address}{}", ask.path);
        command.args(["call", "-method", ask.method, "-url", &url, "-body", &ask.body]);
        command.arg("-timeout").arg(format!("{}ms", ask.limit.as_millis()));
        for (name, value) in &ask.headers {
            command.arg("-header").arg(format!("{name}={value}"));
        }
        let output = command.kill_on_drop(true).output().await.expect("the probe runs");
        let line: Value = serde_json::from_slice(&output.stdout).ok()?;
        let headers = line["headers"].as_object().into_iter().flatten();
        Some(Answer {
            status: u16::try_from(line["status"].as_u64()?).ok()?,
            headers: headers
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            body: line["body"].as_str()?.to_owned(),
        })
    }
}

fn exchange(address: SocketAddr, asks: &[Ask]) -> std::io::Result<Vec<Answer>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut answers = Vec::new();
    for (index, ask) in asks.iter().enumerate() {
        stream.set_read_timeout(Some(ask.limit))?;
        ask.send(&mut stream, address, index + 1 == asks.len())?;
        answers.push(receive(&mut reader, ask.method)?);
    }
    Ok(answers)
}

fn receive(reader: &mut impl BufRead, method: &str) -> std::io::Result<Answer> {
    let status = line(reader)?.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other("not an HTTP answer"))?;
    let mut headers = BTreeMap::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = headers.get("content-length").and_then(|length| length.parse().ok()) {
        body.resize(if method == "HEAD" { 0 } else { length }, 0);
        reader.read_exact(&mut body)?;
    } else if status != 204 {
        reader.read_to_end(&mut body)?;
    }
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A line without its end.
fn line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let size = line(reader)?;
        let size = size.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(std::io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..])?;
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}
