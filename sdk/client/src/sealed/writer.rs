//! Opens what is written to it, on its way to something else.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hilum_core::cose::PrivateKey;
use tokio::io::{AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};

use super::Opener;
use crate::{FlowName, Head};

/// Takes the octets of a sealed body in their order, and writes what is in it to `W`, from where that stands.
///
/// It can be sought to where it stands and to its beginning, from where it begins anew: that is what a download needs to go on
/// after a lost connection. Call [`finish`](Self::finish) when all octets are written: what `W` has before is not known to be all
/// of the body, and is to be thrown away where anything fails. A body that does not open is an error of a write.
pub struct OpeningWriter<'a, W> {
    key: &'a PrivateKey,
    flow: &'a FlowName,
    head: Head,
    opener: Opener<'a>,
    /// Sealed octets that were taken.
    taken: u64,
    /// What was opened, and how much of it is written.
    plain: Vec<u8>,
    written: usize,
    /// Octets that were opened.
    opened: u64,
    /// Where `out` stood.
    base: u64,
    /// Whether `out` is being brought back there.
    is_rewinding: bool,
    out: W,
}

impl<'a, W: AsyncWrite + AsyncSeek + Unpin> OpeningWriter<'a, W> {
    /// For the body of the record with this head, which came from `flow`.
    ///
    /// # Errors
    ///
    /// [`SealedError::ContentType`](super::SealedError::ContentType) or [`SealedError::Bound`](super::SealedError::Bound), as an [`io::Error`]; or `out` does not say where it stands.
    pub async fn new(
        key: &'a PrivateKey,
        flow: &'a FlowName,
        head: &Head,
        mut out: W,
    ) -> io::Result<OpeningWriter<'a, W>> {
        let opener = Opener::new(key, flow, head).map_err(io::Error::other)?;
        let base = out.stream_position().await?;
        let (taken, plain, written, opened, is_rewinding) = (0, Vec::new(), 0, 0, false);
        let head = head.clone();
        Ok(Self { key, flow, head, opener, taken, plain, written, opened, base, is_rewinding, out })
    }

    /// Writes the rest. Gives the media type of what was inside, and how many octets that is.
    ///
    /// # Errors
    ///
    /// [`SealedError`](super::SealedError) as an [`io::Error`], or one of `out`.
    pub async fn finish(mut self) -> io::Result<(String, u64)> {
        self.flush().await?;
        let Self { opener, mut plain, opened, mut out, .. } = self;
        let content_type = opener.content_type().to_owned();
        plain.clear();
        opener.finish(&mut plain).map_err(io::Error::other)?;
        out.write_all(&plain).await?;
        out.flush().await?;
        Ok((content_type, opened + plain.len() as u64))
    }
}

impl<W: AsyncWrite + Unpin> OpeningWriter<'_, W> {
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.plain.len() {
            let written = ready!(Pin::new(&mut self.out).poll_write(context, &self.plain[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.plain.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for OpeningWriter<'_, W> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_written(context))?;
        this.opener.push(octets, &mut this.plain).map_err(io::Error::other)?;
        this.taken += octets.len() as u64;
        this.opened += this.plain.len() as u64;
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_written(context))?;
        Pin::new(&mut this.out).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_written(context))?;
        Pin::new(&mut this.out).poll_shutdown(context)
    }
}

impl<W: AsyncSeek + Unpin> AsyncSeek for OpeningWriter<'_, W> {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        match position {
            SeekFrom::Current(0) => return Ok(()),
            SeekFrom::Start(at) if at == this.taken => return Ok(()),
            SeekFrom::Start(0) => {}
            _ => {
                let what = "a sealed body opens from its beginning on, and in order";
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
        }
        this.opener = Opener::new(this.key, this.flow, &this.head).map_err(io::Error::other)?;
        (this.taken, this.opened, this.written) = (0, 0, 0);
        this.plain.clear();
        this.is_rewinding = true;
        Pin::new(&mut this.out).start_seek(SeekFrom::Start(this.base))
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        if this.is_rewinding {
            ready!(Pin::new(&mut this.out).poll_complete(context))?;
            this.is_rewinding = false;
        }
        Poll::Ready(Ok(this.taken))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hilum_core::cose::{OpenError, STREAM_CONTENT_TYPE, Sealer};
    use hilum_core::{Attribute, Timestamp};

    use super::super::SealedError;
    use super::*;

    const BODY_OCTETS: usize = 3_000_000;

    fn key() -> PrivateKey {
        PrivateKey::from_pem(include_str!("../../../../broker/core/src/cose/tests/a.pem")).unwrap()
    }

    fn head(content_type: &str) -> Head {
        let attribute = |name: &str, value: &str| Attribute { name: name.into(), value: value.into() };
        let original = attribute("original-content-type", "application/dicom");
        Head {
            time: Timestamp(1_700_000_000_000),
            expires: None,
            deliver_after: None,
            key: None,
            content_type: content_type.into(),
            attributes: vec![original, attribute("record-id", "0a")],
            labels: Vec::new(),
            trace: None,
        }
    }

    fn body() -> Vec<u8> {
        (0..BODY_OCTETS).map(|at| u8::try_from(at % 253).unwrap()).collect()
    }

    fn sealed(line: &str, content_type: &str) -> Vec<u8> {
        let bound = "1700000000000\nkey\noriginal-content-type application/dicom\nrecord-id 0a";
        let associated = format!("{line}\nimaging\n{content_type}\n{bound}");
        let sealer = Sealer::new(&[key().public().clone()]).unwrap();
        if line == "hilum-encrypt-v2" {
            return sealer.seal(associated.as_bytes(), &body()).unwrap();
        }
        let mut out = Vec::new();
        let mut stream = sealer.stream(associated.as_bytes(), &mut out).unwrap();
        stream.push(&body(), &mut out).unwrap();
        stream.finish(&mut out).unwrap();
        out
    }

    async fn written(sealed: &[u8], head: &Head, back_at: Option<usize>) -> io::Result<(u64, Vec<u8>)> {
        let (key, flow) = (key(), "imaging".parse().unwrap());
        let mut out = Cursor::new(b"before".to_vec());
        out.set_position(6);
        let mut writer = OpeningWriter::new(&key, &flow, head, &mut out).await?;
        if let Some(at) = back_at {
            writer.write_all(&sealed[..at]).await?;
            assert_eq!(writer.seek(SeekFrom::Start(at as u64)).await?, at as u64);
            assert!(writer.seek(SeekFrom::Start(at as u64 - 1)).await.is_err());
            assert_eq!(writer.seek(SeekFrom::Start(0)).await?, 0);
        }
        for piece in sealed.chunks(100_000) {
            writer.write_all(piece).await?;
        }
        let (content_type, octets) = writer.finish().await?;
        assert_eq!(content_type, "application/dicom");
        Ok((octets, out.into_inner()))
    }

    #[tokio::test]
    async fn a_body_of_either_form_is_opened_on_its_way() {
        let forms = [
            ("hilum-encrypt-v2", r#"application/cose; cose-type="cose-encrypt""#),
            ("hilum-encrypt-stream-v2", STREAM_CONTENT_TYPE),
        ];
        for (line, content_type) in forms {
            let sealed = sealed(line, content_type);
            for back_at in [None, Some(10), Some(2_500_000)] {
                let (octets, out) = written(&sealed, &head(content_type), back_at).await.unwrap();
                assert_eq!(octets, BODY_OCTETS as u64);
                assert!(out == [&b"before"[..], &body()].concat(), "{content_type}, {back_at:?}");
            }
            let other = forms.iter().find(|(other, _)| *other != line).unwrap().1;
            assert!(written(&sealed, &head(other), None).await.is_err(), "the one form is not the other");
        }
    }

    #[tokio::test]
    async fn a_stream_that_was_cut_off_is_an_error_at_its_end() {
        let sealed = sealed("hilum-encrypt-stream-v2", STREAM_CONTENT_TYPE);
        let error = written(&sealed[..sealed.len() - 1], &head(STREAM_CONTENT_TYPE), None).await.unwrap_err();
        let error = error.into_inner().unwrap().downcast::<SealedError>().unwrap();
        assert!(matches!(*error, SealedError::Open(OpenError::NotAuthentic)), "{error}");
    }
}
