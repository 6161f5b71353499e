//! Closing a connection so that what was said last arrives.
//!
//! A socket that is closed while something on it is unread is reset by the system, and the other end loses what it had not
//! read itself: the alert of TLS that says why, or a word in plaintext.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the other end is given to read why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Says `words` after what was said already, and waits for a moment until the other end has gone.
pub(super) async fn close(mut socket: TcpStream, words: &[u8]) {
    let said = async {
        socket.write_all(words).await?;
        socket.shutdown().await?;
        let mut unread = [0; 1024];
        while socket.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    let _gone = tokio::time::timeout(LAST_WORDS, said).await;
}
