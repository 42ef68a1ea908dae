//! Large bodies that are made while they are sent.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// So many octets of a pattern, from `position` on.
#[derive(Clone)]
pub(super) struct Body {
    pattern: Bytes,
    size: u64,
    position: u64,
}

impl Body {
    /// A body of `size` octets, of a pattern that is not empty and repeats.
    pub(super) fn new(pattern: Bytes, size: u64) -> Self {
        Self { pattern, size, position: 0 }
    }

    /// Its octets.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl AsyncRead for Body {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.size.saturating_sub(self.position);
        let begin = usize::try_from(self.position % self.pattern.len() as u64).unwrap_or(0);
        let here = buffer.remaining().min(self.pattern.len() - begin);
        let octets = usize::try_from(left).map_or(here, |left| left.min(here));
        buffer.put_slice(&self.pattern[begin..begin + octets]);
        self.position += octets as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Body {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

    use super::*;

    #[tokio::test]
    async fn the_same_octets_come_from_wherever_it_is_read() {
        let mut body = Body::new(Bytes::from_static(b"abcde"), 12);
        let mut all = String::new();
        body.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "abcdeabcdeab");
        assert_eq!(body.seek(SeekFrom::Start(7)).await.unwrap(), 7);
        all.clear();
        body.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "cdeab");
    }
}
