//! `types`: large bodies, read by pull and written by push. `forward` copies on the host.

use bytes::Bytes;
use hilum_core::PrincipalId;
use hilum_core::limits::{BLOB_CHUNK_OCTETS, INLINE_BODY_OCTETS_MAX};
use hilum_core::record::{Body, Measured};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::bindings::hilum::plugin::types::{
    self as raw, BodyError, Host as TypesHost, HostBodyReader, HostBodyWriter,
};
use super::{Host, Place};
use crate::call::Call;
use crate::limits::READ_OCTETS_MAX;
use crate::services::{BlobSink, ServiceError, Services};

/// A piece of a body that is worth a call of the store. What is smaller is gathered up to a chunk.
const LARGE_PIECE_OCTETS: usize = BLOB_CHUNK_OCTETS / 4;

/// A body that a guest reads. It stands for the whole body, however far it has been read.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Reader {
    body: Measured,
    at: u64,
    /// Whether it came with a record and is large: reading on in it is what gives a call more time.
    is_progress: bool,
}

impl Reader {
    /// Of a body that the plugin made.
    pub(crate) fn new(body: Measured) -> Self {
        Self { body, at: 0, is_progress: false }
    }

    /// Of a body that a record came with.
    pub(crate) fn of_input(body: Measured) -> Self {
        let is_progress = matches!(body.body(), Body::Blob(_));
        Self { body, at: 0, is_progress }
    }

    pub(crate) fn into_body(self) -> Measured {
        self.body
    }

    /// Octets that have not been read.
    pub(crate) fn left(&self) -> u64 {
        self.body.body().size() - self.at
    }

    /// Up to `max` octets; empty at the end and only there.
    pub(crate) fn next(&mut self, services: &dyn Services, max: usize) -> Result<Bytes, ServiceError> {
        let max = usize::try_from(self.left()).map_or(max, |left| left.min(max));
        if max == 0 {
            return Ok(Bytes::new());
        }
        let octets = match self.body.body() {
            Body::Inline(octets) => {
                let at = usize::try_from(self.at).map_err(|_| lost())?;
                octets.slice(at..at + max)
            }
            Body::Blob(blob) => {
                let octets = services.read_blob(blob, self.at, max)?;
                if octets.is_empty() || octets.len() > max {
                    return Err(lost());
                }
                octets
            }
        };
        self.at += octets.len() as u64;
        Ok(octets)
    }

    /// Passes over up to `n` octets.
    fn skip(&mut self, n: u64) -> u64 {
        let n = n.min(self.left());
        self.at += n;
        n
    }
}

/// Reads on in a body for a call. What is read of a large one gives the call more time.
pub(super) fn read_on(
    reader: &mut Reader,
    place: &Place,
    call: &mut Call,
    max: usize,
) -> Result<Bytes, ServiceError> {
    if matches!(reader.body.body(), Body::Inline(_)) {
        return reader.next(&*place.services, max);
    }
    let octets = call.waiting(|| reader.next(&*place.services, max))?;
    if reader.is_progress {
        call.advance(&place.limits, octets.len() as u64);
    }
    Ok(octets)
}

fn lost() -> ServiceError {
    ServiceError("a large body is not as long as its record says".into())
}

/// A body that a guest writes: in memory until it is too large to be inline, then a blob.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Writer {
    buffer: Vec<u8>,
    sink: Option<Box<dyn BlobSink>>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::new(), sink: None }
    }

    /// Adds octets to a body that is made of a record of `source`; none where no record is at hand. Large pieces go on as they are,
    /// small ones are gathered.
    pub(crate) fn write(
        &mut self,
        services: &dyn Services,
        source: Option<&PrincipalId>,
        octets: Bytes,
    ) -> Result<(), ServiceError> {
        if self.sink.is_none() && self.buffer.len() + octets.len() <= INLINE_BODY_OCTETS_MAX {
            self.buffer.extend_from_slice(&octets);
            return Ok(());
        }
        let sink = match &mut self.sink {
            Some(sink) => sink,
            None => self.sink.insert(services.create_blob(source.ok_or_else(no_source)?)?),
        };
        if octets.len() < LARGE_PIECE_OCTETS {
            self.buffer.extend_from_slice(&octets);
            if self.buffer.len() < BLOB_CHUNK_OCTETS {
                return Ok(());
            }
            return write_all(sink, std::mem::take(&mut self.buffer).into());
        }
        write_all(sink, std::mem::take(&mut self.buffer).into())?;
        write_all(sink, octets)
    }

    pub(crate) fn finish(mut self) -> Result<Measured, ServiceError> {
        let body = match self.sink {
            None => Body::Inline(self.buffer.into()),
            Some(mut sink) => {
                write_all(&mut sink, std::mem::take(&mut self.buffer).into())?;
                Body::Blob(sink.finish()?)
            }
        };
        Ok(Measured::new(body))
    }
}

/// Writes octets in pieces that a sink takes.
fn write_all(sink: &mut Box<dyn BlobSink>, mut octets: Bytes) -> Result<(), ServiceError> {
    while !octets.is_empty() {
        sink.write(octets.split_to(octets.len().min(BLOB_CHUNK_OCTETS)))?;
    }
    Ok(())
}

fn no_source() -> ServiceError {
    ServiceError("a large body can only be made of a record".into())
}

/// The body of a draft, measured. Inline octets over the inline limit become a large body.
pub(crate) fn settle(host: &mut Host, body: raw::Body) -> Result<Measured, ServiceError> {
    let services = host.place.services.clone();
    match body {
        raw::Body::Inline(octets) if octets.len() <= INLINE_BODY_OCTETS_MAX => {
            Ok(Measured::new(Body::Inline(octets.into())))
        }
        raw::Body::Inline(octets) => {
            let mut writer = Writer::new();
            writer.write(&*services, host.source.as_ref(), octets.into())?;
            host.finish_writer(writer)
        }
        raw::Body::Large(reader) => host
            .table
            .delete(reader)
            .map(Reader::into_body)
            .map_err(|_| ServiceError("the plugin returned a body that is not there".into())),
    }
}

impl Host {
    pub(super) fn finish_writer(&mut self, writer: Writer) -> Result<Measured, ServiceError> {
        let body = self.call.waiting(|| writer.finish())?;
        if let Body::Blob(blob) = body.body() {
            self.call.made.push(*blob);
        }
        Ok(body)
    }

    /// Counts octets that are about to be written; says how many are allowed in all if these are too many.
    fn account(&mut self, octets: u64) -> Result<(), BodyError> {
        self.call.write(octets).map_err(|over| BodyError::TooLarge(over.max))
    }

    fn write_on(&mut self, to: &Resource<Writer>, octets: Bytes) -> Result<Result<(), ServiceError>> {
        let writer = self.table.get_mut(to)?;
        let (services, source) = (&*self.place.services, self.source.as_ref());
        Ok(self.call.waiting(|| writer.write(services, source, octets)))
    }

    fn interrupted(&mut self, error: ServiceError) -> BodyError {
        self.fault(error);
        BodyError::Interrupted
    }

    fn move_chunks(
        &mut self,
        to: &Resource<Writer>,
        from: &Resource<Reader>,
        n: u64,
    ) -> Result<Result<u64, BodyError>> {
        let mut moved = 0;
        while moved < n {
            self.call.left()?;
            let max =
                usize::try_from(n - moved).map_or(BLOB_CHUNK_OCTETS, |left| left.min(BLOB_CHUNK_OCTETS));
            let chunk = match read_on(self.table.get_mut(from)?, &self.place, &mut self.call, max) {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => chunk,
                Err(error) => return Ok(Err(self.interrupted(error))),
            };
            let octets = chunk.len() as u64;
            if let Err(error) = self.account(octets) {
                return Ok(Err(error));
            }
            if let Err(error) = self.write_on(to, chunk)? {
                return Ok(Err(self.interrupted(error)));
            }
            moved += octets;
        }
        Ok(Ok(moved))
    }
}

impl TypesHost for Host {}

impl HostBodyReader for Host {
    fn size(&mut self, this: Resource<Reader>) -> Result<u64> {
        self.call.enter(0)?;
        Ok(self.table.get(&this)?.body.body().size())
    }

    fn read(&mut self, this: Resource<Reader>, max: u32) -> Result<Result<Vec<u8>, BodyError>> {
        self.call.enter(0)?;
        let max = max.min(READ_OCTETS_MAX) as usize;
        match read_on(self.table.get_mut(&this)?, &self.place, &mut self.call, max) {
            Ok(octets) => {
                self.call.charge(octets.len())?;
                Ok(Ok(octets.into()))
            }
            Err(error) => Ok(Err(self.interrupted(error))),
        }
    }

    fn skip(&mut self, this: Resource<Reader>, n: u64) -> Result<Result<u64, BodyError>> {
        self.call.enter(0)?;
        Ok(Ok(self.table.get_mut(&this)?.skip(n)))
    }

    fn drop(&mut self, this: Resource<Reader>) -> Result<()> {
        self.call.enter(0)?;
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostBodyWriter for Host {
    fn new(&mut self) -> Result<Resource<Writer>> {
        self.call.enter(0)?;
        Ok(self.table.push(Writer::new())?)
    }

    fn write(&mut self, this: Resource<Writer>, octets: Vec<u8>) -> Result<Result<(), BodyError>> {
        self.call.enter(octets.len())?;
        if let Err(error) = self.account(octets.len() as u64) {
            return Ok(Err(error));
        }
        match self.write_on(&this, octets.into())? {
            Ok(()) => Ok(Ok(())),
            Err(error) => Ok(Err(self.interrupted(error))),
        }
    }

    fn forward(
        &mut self,
        this: Resource<Writer>,
        source: Resource<Reader>,
        n: u64,
    ) -> Result<Result<u64, BodyError>> {
        self.call.enter(0)?;
        self.move_chunks(&this, &source, n)
    }

    fn finish(&mut self, this: Resource<Writer>) -> Result<Result<Resource<Reader>, BodyError>> {
        self.call.enter(0)?;
        let writer = self.table.delete(this)?;
        match self.finish_writer(writer) {
            Ok(body) => Ok(Ok(self.table.push(Reader::new(body))?)),
            Err(error) => Ok(Err(self.interrupted(error))),
        }
    }

    fn drop(&mut self, this: Resource<Writer>) -> Result<()> {
        self.call.enter(0)?;
        self.table.delete(this)?;
        Ok(())
    }
}
