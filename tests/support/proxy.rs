//! A TCP proxy that can be told to misbehave, live: what stands between Chandler and a registry on a bad day.
//!
//! It works on bytes, but for [`Way::Edit`], which knows enough HTTP/1.1 to change the body of an answer and nothing else of
//! it. It never invents what it was not told to say.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of connections. A new way holds for those that are open, too.
#[derive(Debug, Clone)]
pub enum Way {
    /// Everything passes.
    Pass,
    /// Every connection is reset.
    Reset,
    /// Nothing passes and nothing is said; what waits passes once the way is [`Way::Pass`] again.
    Silence,
    /// So many bytes of the answers of a connection pass, then it is reset.
    ResetAfter(usize),
    /// So many bytes of the answers of a connection pass, then it ends in order.
    EndAfter(usize),
    /// So many bytes of the answers pass in a second.
    Slow(u32),
    /// Whoever asks is told this, whatever he asked, and the connection ends.
    Say(Arc<[u8]>),
    /// The body of every HTTP answer of status 200 is replaced, given the path that was asked for.
    Edit(fn(&str, &[u8]) -> Vec<u8>),
}

impl Way {
    /// Whether bytes are passed on as they come: then an open connection outlives the change from one way to another.
    const fn passes_bytes(&self) -> bool {
        matches!(self, Self::Pass | Self::Silence | Self::ResetAfter(_) | Self::EndAfter(_) | Self::Slow(_))
    }
}

/// Stands before one server. Dropping it ends every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    touched: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// One before `server`, which need not be there yet.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let (way, told) = watch::channel(Way::Pass);
        let touched = Arc::new(AtomicUsize::new(0));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, told, Arc::clone(&touched)));
        Self { address, way, touched, _accepting: accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// How many connections or answers have been spoilt: that a fault was more than an intention.
    pub fn touched(&self) -> usize {
        self.touched.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    way: watch::Receiver<Way>,
    hits: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(connection(client, server, way.clone(), Arc::clone(&hits)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    client: TcpStream,
    server: SocketAddr,
    mut way: watch::Receiver<Way>,
    hits: Arc<AtomicUsize>,
) {
    let now = way.borrow_and_update().clone();
    // Both ends go on to find out for themselves: an error of one of them is no more than its end.
    let _ended = match now {
        Way::Reset => {
            hits.fetch_add(1, Ordering::Relaxed);
            client.set_zero_linger()
        }
        Way::Say(words) => {
            tokio::select! {
                done = say(client, &words, &hits) => done,
                () = until(&mut way, |now| !matches!(now, Way::Say(_))) => Ok(()),
            }
        }
        Way::Edit(edit) => {
            tokio::select! {
                done = edited(client, server, edit, &hits) => done,
                () = until(&mut way, |now| !matches!(now, Way::Edit(_))) => Ok(()),
            }
        }
        _ => bytes(client, server, way, &hits).await,
    };
}

/// Waits until the way is one that `wanted` accepts; for ever, if nobody can change it any more.
async fn until(way: &mut watch::Receiver<Way>, wanted: impl FnMut(&Way) -> bool) {
    if way.wait_for(wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

// ---- bytes ----

async fn bytes(
    mut client: TcpStream,
    server: SocketAddr,
    way: watch::Receiver<Way>,
    hits: &AtomicUsize,
) -> io::Result<()> {
    let mut server = match TcpStream::connect(server).await {
        Ok(server) => server,
        Err(_) => return client.set_zero_linger(),
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (mut cut, up, down) = (way.clone(), way.clone(), way);
        tokio::select! {
            () = until(&mut cut, |now| !now.passes_bytes()) => true,
            reset = async {
                // Who has sent all that he has may still be answered; once answers have ended, so has everything.
                let mut down = pin!(downward(from_server, to_client, down, hits));
                tokio::select! {
                    reset = &mut down => reset,
                    () = upward(from_client, to_server, up) => down.await,
                }
            } => reset,
        }
    };
    if reset { client.set_zero_linger() } else { Ok(()) }
}

async fn upward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        until(&mut way, |now| !matches!(now, Way::Silence)).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _gone = to.shutdown().await;
}

/// Whether the connection is to be reset.
async fn downward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut way: watch::Receiver<Way>,
    hits: &AtomicUsize,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    // Of the answers since this way was chosen.
    let mut passed = 0;
    loop {
        let count = tokio::select! {
            _ = way.changed() => {
                passed = 0;
                continue;
            }
            count = from.read(&mut buffer) => match count {
                Ok(count @ 1..) => count,
                Ok(_) => {
                    let _gone = to.shutdown().await;
                    return false;
                }
                Err(_) => return true,
            },
        };
        until(&mut way, |now| !matches!(now, Way::Silence)).await;
        let now = way.borrow().clone();
        let left = match now {
            Way::ResetAfter(most) | Way::EndAfter(most) => most.saturating_sub(passed),
            _ => usize::MAX,
        };
        let written = match now {
            Way::Slow(rate) => slowly(&mut to, &buffer[..count], rate, &mut way, hits).await,
            _ => to.write_all(&buffer[..count.min(left)]).await,
        };
        if written.is_err() {
            return true;
        }
        passed += count;
        if count > left {
            hits.fetch_add(1, Ordering::Relaxed);
            return matches!(now, Way::ResetAfter(_));
        }
    }
}

/// One byte at a time, until the way is another; the rest then goes at once.
async fn slowly(
    to: &mut WriteHalf<'_>,
    bytes: &[u8],
    rate: u32,
    way: &mut watch::Receiver<Way>,
    hits: &AtomicUsize,
) -> io::Result<()> {
    hits.fetch_add(1, Ordering::Relaxed);
    for (index, byte) in bytes.iter().enumerate() {
        to.write_all(&[*byte]).await?;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1) / rate) => {}
            () = until(way, |now| !matches!(now, Way::Slow(_))) => return to.write_all(&bytes[index + 1..]).await,
        }
    }
    Ok(())
}

// ---- HTTP ----

async fn say(mut client: TcpStream, words: &[u8], hits: &AtomicUsize) -> io::Result<()> {
    // He has asked something before he is answered.
    let mut asked = [0; 16 * 1024];
    if client.read(&mut asked).await? > 0 {
        hits.fetch_add(1, Ordering::Relaxed);
        client.write_all(words).await?;
        client.shutdown().await?;
        // What he says further is read, so that what he was told is not lost in a reset.
        while client.read(&mut asked).await? > 0 {}
    }
    Ok(())
}

async fn edited(
    mut client: TcpStream,
    server: SocketAddr,
    edit: fn(&str, &[u8]) -> Vec<u8>,
    hits: &AtomicUsize,
) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    let (from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let (mut from_client, mut from_server) = (BufReader::new(from_client), BufReader::new(from_server));
    loop {
        let Some(mut asked) = Message::read(&mut from_client, false).await? else { return Ok(()) };
        asked.without("accept-encoding");
        asked.write(&mut to_server).await?;
        let Some(mut answer) = Message::read(&mut from_server, true).await? else { return Ok(()) };
        if answer.first.contains(" 200") {
            let path = asked.first.split(' ').nth(1).unwrap_or_default();
            let body = edit(path, &answer.body);
            if body != answer.body {
                hits.fetch_add(1, Ordering::Relaxed);
                answer.body = body;
            }
        }
        answer.write(&mut to_client).await?;
    }
}

/// A request or an answer, whole.
struct Message {
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    async fn read(from: &mut (impl AsyncBufReadExt + Unpin), answer: bool) -> io::Result<Option<Self>> {
        let Some(first) = line(from).await? else { return Ok(None) };
        let mut message = Self { first, headers: Vec::new(), body: Vec::new() };
        while let Some(line) = line(from).await?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("no header"))?;
            message.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        let header =
            |name: &str| message.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        if header("transfer-encoding").is_some() {
            message.body = chunks(from).await?;
        } else if let Some(length) = header("content-length") {
            message.body = vec![0; length.parse().map_err(io::Error::other)?];
            from.read_exact(&mut message.body).await?;
        } else if answer && !message.first.contains(" 204") {
            from.read_to_end(&mut message.body).await?;
        }
        Ok(Some(message))
    }

    fn without(&mut self, name: &str) {
        self.headers.retain(|(known, _)| known != name);
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>) -> io::Result<()> {
        self.without("transfer-encoding");
        self.without("content-length");
        let mut head = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        to.write_all(head.as_bytes()).await?;
        to.write_all(&self.body).await
    }
}

async fn line(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = from.read_line(&mut line).await?;
    Ok((read > 0).then(|| line.trim_end().to_owned()))
}

async fn chunks(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(from).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16)
            .map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size, 0);
        from.read_exact(&mut body[start..]).await?;
        line(from).await?;
        if size == 0 {
            return Ok(body);
        }
    }
}
