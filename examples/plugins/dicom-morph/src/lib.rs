//! Changes tags of DICOM objects by rules for each sending device: normalises descriptions, maps a modality's private values to
//! standard ones, adds what a device leaves out. Pixel data is forwarded on the host and never enters the plugin.
//!
//! In reading order: [`settings`] is the configuration, [`name`] how it names tags; [`morph`] goes through an object; [`held`] is
//! the part of it that rules see, [`items`] what is in its sequences; [`fit`] says which values a value representation can have.

mod fit;
mod held;
mod items;
mod morph;
mod name;
mod settings;
#[cfg(test)]
mod tests;

use hilum_formats::dicom::{self, MemoryPipe, Pipe};
use hilum_plugin::{
    Body, BodyError, BodyReader, BodyWriter, ConfigError, Context, Description, Message, Outcome, Refusal,
    Transform,
};

use settings::Rule;
pub use settings::Settings;

/// The media type of DICOM Part 10 objects.
pub const CONTENT_TYPE: &str = "application/dicom";

/// The plugin, configured.
#[derive(Debug)]
pub struct Morph(Settings);

impl Transform for Morph {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("dicom-morph", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn transform(&mut self, context: &Context, Message { head, body }: Message) -> Outcome {
        if !head.is(CONTENT_TYPE) {
            return Refusal::new("unsupported-content-type", "only DICOM objects have tags").into();
        }
        let rules: Vec<&Rule> = self.0.rules.iter().filter(|rule| rule.when.concerns(context)).collect();
        if rules.is_empty() {
            return Outcome::Pass;
        }
        match changed(&rules, body) {
            Ok(Some(body)) => hilum_plugin::Draft::of(head, body).into(),
            Ok(None) => Outcome::Pass,
            Err(refusal) => refusal.into(),
        }
    }
}

hilum_plugin::export_transform!(Morph);

/// The body with the rules' changes; none if they change nothing.
fn changed(rules: &[&Rule], body: Body) -> Result<Option<Body>, Refusal> {
    match body {
        Body::Inline(octets) => {
            let mut pipe = MemoryPipe::new(&octets);
            let changed = morph::morph(&mut pipe, rules).map_err(refusal)?;
            Ok(if changed { Some(Body::of(pipe.into_output())?) } else { None })
        }
        Body::Large(reader) => {
            let mut pipe = HostPipe { reader, writer: BodyWriter::new() };
            let changed = morph::morph(&mut pipe, rules).map_err(refusal)?;
            Ok(if changed { Some(Body::Large(pipe.writer.finish()?)) } else { None })
        }
    }
}

fn refusal(dicom::Error { code, reason }: dicom::Error) -> Refusal {
    Refusal::new(code, reason)
}

/// A large body, read from the host and written back to it.
struct HostPipe {
    reader: BodyReader,
    writer: BodyWriter,
}

impl Pipe for HostPipe {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, dicom::Error> {
        let octets = self.reader.read(u32::try_from(max).unwrap_or(u32::MAX)).map_err(interrupted)?;
        into.extend_from_slice(&octets);
        Ok(octets.len())
    }

    fn skip(&mut self, n: u64) -> Result<u64, dicom::Error> {
        self.reader.skip(n).map_err(interrupted)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), dicom::Error> {
        self.writer.write(octets).map_err(interrupted)
    }

    fn forward(&mut self, n: u64) -> Result<u64, dicom::Error> {
        self.writer.forward(&mut self.reader, n).map_err(interrupted)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn interrupted(error: BodyError) -> dicom::Error {
    dicom::Error::new("interrupted", error.to_string())
}
