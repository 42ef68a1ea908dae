//! A collector of telemetry that only keeps what it is sent: enough of OTLP/HTTP (a POST, answered with 200) to see that
//! traces arrive, and to search them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Octets of all exports that are kept. More are answered and forgotten.
const KEPT_OCTETS_MAX: usize = 64 << 20;
/// Octets of one export.
const EXPORT_OCTETS_MAX: usize = 16 << 20;
/// Octets of the lines before a body.
const HEAD_OCTETS_MAX: u64 = 16 * 1024;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// Listens on a free port of the loopback interface.
    pub async fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(accept(listener, kept.clone()));
        Ok(Self { address, kept, task })
    }

    /// What to set `OTEL_EXPORTER_OTLP_ENDPOINT` to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All bodies that came, one after the other: protobuf messages of OTLP.
    #[must_use]
    pub fn kept(&self) -> Vec<u8> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, kept: Arc<Mutex<Vec<u8>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let kept = kept.clone();
        tokio::spawn(async move {
            // An exporter that breaks off is its own concern: what it sent in full is kept.
            let _ = serve(stream, &kept).await;
        });
    }
}

/// Answers the requests of one connection until it ends (RFC 9112).
async fn serve(stream: TcpStream, kept: &Mutex<Vec<u8>>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(length) = content_length(&mut stream).await? {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        keep(kept, &mut body);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        stream.get_mut().write_all(answer).await?;
    }
    Ok(())
}

fn keep(kept: &Mutex<Vec<u8>>, body: &mut Vec<u8>) {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() + body.len() <= KEPT_OCTETS_MAX {
        kept.append(body);
    }
}

/// Reads the head of a request; none at the end of the connection.
async fn content_length(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Option<usize>> {
    let mut length = None;
    let mut head = stream.take(HEAD_OCTETS_MAX);
    for number in 0.. {
        let mut line = String::new();
        if head.read_line(&mut line).await? == 0 {
            return if number == 0 { Ok(None) } else { bail!("the head of a request ends early") };
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse().context("content-length")?);
        }
    }
    match length {
        Some(length) if length <= EXPORT_OCTETS_MAX => Ok(Some(length)),
        Some(length) => bail!("an export of {length} octets is over the limit"),
        None => bail!("a request without content-length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_what_is_posted_and_answers_each_request() {
        let collector = Collector::start().await.unwrap();
        let mut stream = TcpStream::connect(collector.address).await.unwrap();
        for body in ["one", "two"] {
            let request = format!(
                "POST /v1/traces HTTP/1.1\r\nhost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = [0; 15];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            let mut rest = vec![0; 61];
            stream.read_exact(&mut rest).await.unwrap();
            assert!(rest.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
        }
        assert_eq!(collector.kept(), b"onetwo");
    }

    #[tokio::test]
    async fn drops_a_request_that_is_too_large() {
        let collector = Collector::start().await.unwrap();
        let mut stream = TcpStream::connect(collector.address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n").await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
