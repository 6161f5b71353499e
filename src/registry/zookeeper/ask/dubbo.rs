//! Dubbo's own protocol, as much as one call takes: `getMetadataInfo(revision)` with hessian2. Frames are built and read
//! here without a socket; [`call`] sends one and waits for its answer.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::MAX_ANSWER;
use super::answer::from_hessian;
use super::hessian::{Reader, Value, write_map, write_text};
use crate::registry::zookeeper::layout::dubbo::metadata::{METADATA_SERVICE, Metadata};

/// What every frame begins with.
const MAGIC: [u8; 2] = [0xda, 0xbb];
/// Bytes before the body: magic, flags, status, id (8), length (4).
const HEADER: usize = 16;
/// A request that wants an answer, in hessian2.
const REQUEST: u8 = 0x80 | 0x40 | HESSIAN2;
/// The number of hessian2 among serializations.
const HESSIAN2: u8 = 2;
/// The bits of the flags that number the serialization.
const SERIALIZATION: u8 = 0x1f;
/// The flag of what is no answer: heartbeats and the like.
const EVENT: u8 = 0x20;
/// The flag of a request.
const IS_REQUEST: u8 = 0x80;
/// The status of an answer that is one.
const OK: u8 = 20;
/// Frames that are no answer and come before it; there is a heartbeat each minute.
const OTHERS: usize = 4;
/// The version of the protocol, not of Dubbo.
const PROTOCOL: &str = "2.0.2";
/// The id of the only request on a connection.
const ID: u64 = 1;

/// The frame that asks `application` for `revision`.
pub(super) fn request(application: &str, version: &str, revision: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for text in [PROTOCOL, METADATA_SERVICE, version, "getMetadataInfo", "Ljava/lang/String;", revision] {
        write_text(&mut body, text);
    }
    write_map(
        &mut body,
        &[
            ("path", METADATA_SERVICE),
            ("interface", METADATA_SERVICE),
            ("version", version),
            ("group", application),
        ],
    );
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend(MAGIC);
    frame.extend([REQUEST, 0]);
    frame.extend(ID.to_be_bytes());
    frame.extend(u32::try_from(body.len()).unwrap_or_default().to_be_bytes());
    frame.extend(body);
    frame
}

/// What the beginning of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is the answer.
    is_answer: bool,
    serialization: u8,
    status: u8,
    /// Of the body.
    pub(super) length: usize,
}

impl Header {
    /// Reads it.
    pub(super) fn read(bytes: [u8; HEADER]) -> Result<Self, String> {
        let [m0, m1, flags, status, .., l0, l1, l2, l3] = bytes;
        if [m0, m1] != MAGIC {
            return Err("it does not speak Dubbo's protocol".into());
        }
        let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(format!("it answers with {length} bytes, more than {MAX_ANSWER}"));
        }
        let is_answer = flags & (IS_REQUEST | EVENT) == 0;
        Ok(Self { is_answer, serialization: flags & SERIALIZATION, status, length })
    }

    /// What the answer says whose body is `body`.
    pub(super) fn answer(self, body: &[u8]) -> Result<Metadata, String> {
        if self.serialization != HESSIAN2 {
            return Err(format!("it answers in serialization {}, not in hessian2", self.serialization));
        }
        let mut reader = Reader::new(body);
        let first = reader.value().map_err(|e| format!("its answer is no hessian2: {e}"))?;
        if self.status != OK {
            let why = first.text().map(words).unwrap_or_default();
            return Err(format!("it answers with status {}{why}", self.status));
        }
        // With attachments, what there is besides is three more.
        match first {
            Value::Int(1 | 4) => from_hessian(&mut reader),
            Value::Int(2 | 5) => Err("it does not know the revision".into()),
            Value::Int(0 | 3) => {
                let thrown = reader.value().map_err(|e| format!("its answer is no hessian2: {e}"))?;
                let why = reader.heap.get(&thrown, "detailMessage").and_then(Value::text).map(words);
                Err(format!("it throws an exception{}", why.unwrap_or_default()))
            }
            _ => Err("its answer is none".into()),
        }
    }
}

/// A stranger's words: short, on one line.
fn words(text: &str) -> String {
    const LENGTH: usize = 120;
    let line = text.lines().next().unwrap_or_default();
    format!(": {}", line.chars().filter(|c| !c.is_control()).take(LENGTH).collect::<String>())
}

/// What a whole frame says.
#[cfg(any(test, fuzzing))]
pub(super) fn read(frame: &[u8]) -> Result<Metadata, String> {
    let (header, body) = frame.split_first_chunk().ok_or("it is no frame")?;
    Header::read(*header)?.answer(body)
}

/// Sends `request` and reads its answer.
pub(super) async fn call(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> Result<Metadata, String> {
    let lost = |e: std::io::Error| format!("the connection broke: {e}");
    stream.write_all(request).await.map_err(lost)?;
    for _ in 0..OTHERS {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await.map_err(lost)?;
        let header = Header::read(header)?;
        // As much as arrives, not as much as is announced.
        let mut body = Vec::new();
        let announced = u64::try_from(header.length).unwrap_or(u64::MAX);
        (&mut stream).take(announced).read_to_end(&mut body).await.map_err(lost)?;
        if body.len() < header.length {
            return Err("the connection broke in the middle of the answer".into());
        }
        if header.is_answer {
            return header.answer(&body);
        }
    }
    Err("it sends other things than an answer".into())
}

#[cfg(test)]
mod tests;
