//! Records as files: `NAME.toml` is the head, `NAME.body` the body, `NAME.expected.toml` what should become of it.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use hilum_core::{Attribute, Head, Label, Offset, Principal, PrincipalId, Timestamp};
use hilum_server::config::units;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::value::Datetime;

use super::outcome::Outcome;

/// Records of one folder.
const RECORDS_MAX: usize = 10_000;
/// Octets of one body in a file.
pub(crate) const BODY_OCTETS_MAX: u64 = 64 << 20;
/// How the name of a file ends that says what is expected.
pub(crate) const EXPECTED: &str = ".expected.toml";
/// The time of a record that states none: 2026-01-01T00:00:00Z.
pub(crate) const TIME: Timestamp = Timestamp(1_767_225_600_000);

/// A record, and what should become of it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) head: Head,
    pub(crate) source: Principal,
    /// Its position in a flow that it was read from.
    pub(crate) offset: Option<Offset>,
    pub(crate) body: Bytes,
    pub(crate) expected: Option<Outcome>,
}

/// A head as its file has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadFile {
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Datetime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Label>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<(String, String)>,
    /// The file with the body, where it is not `NAME.body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Party>,
}

/// Somebody a record comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Party {
    principal: String,
    stakeholder: String,
    zone: String,
    #[serde(default)]
    roles: Vec<String>,
}

impl Party {
    /// The same as a principal.
    pub(crate) fn principal(&self) -> anyhow::Result<Principal> {
        Ok(Principal {
            id: PrincipalId::new(&self.principal)?,
            stakeholder: self.stakeholder.parse()?,
            zone: self.zone.parse()?,
            roles: self.roles.iter().map(|role| role.parse()).collect::<Result<_, _>>()?,
        })
    }
}

impl Record {
    /// Writes it into a folder that has none of its name.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let head = HeadFile {
            content_type: self.head.content_type.clone(),
            time: Some(shown(self.head.time)?),
            key: self.head.key.clone(),
            labels: self.head.labels.clone(),
            attributes: self.head.attributes.iter().map(|of| (of.name.clone(), of.value.clone())).collect(),
            body: None,
            source: None,
        };
        write_new(&folder.join(format!("{}.toml", self.name)), toml::to_string(&head)?.as_bytes())?;
        write_new(&folder.join(format!("{}.body", self.name)), &self.body)
    }
}

/// The time to the millisecond, as TOML writes it.
fn shown(time: Timestamp) -> anyhow::Result<Datetime> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000_000)?;
    Ok(at.format(&Rfc3339)?.parse()?)
}

fn write_new(file: &Path, octets: &[u8]) -> anyhow::Result<()> {
    let written = fs::File::create_new(file).and_then(|mut file| file.write_all(octets));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// Reads the records of a folder, in order of their names.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Record>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let (Some(stem), false) = (name.strip_suffix(".toml"), name.ends_with(EXPECTED)) {
            names.push(stem.to_owned());
        }
    }
    anyhow::ensure!(names.len() <= RECORDS_MAX, "{} has more than {RECORDS_MAX} records", folder.display());
    names.sort();
    names.into_iter().map(|name| read_one(folder, name)).collect()
}

fn read_one(folder: &Path, name: String) -> anyhow::Result<Record> {
    let path = folder.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: HeadFile = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let body = read_body(folder, file.body.as_deref().unwrap_or(&format!("{name}.body")))?;
    let (head, source) = file.parts().with_context(|| path.display().to_string())?;
    let expected = Outcome::read(folder, &name)?;
    Ok(Record { name, head, source, offset: None, body: body.into(), expected })
}

/// The octets of a body's file.
pub(crate) fn read_body(folder: &Path, name: &str) -> anyhow::Result<Vec<u8>> {
    let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
    anyhow::ensure!(is_plain, "`body` names a file of the same folder, and nothing else");
    let path = folder.join(name);
    let size = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(
        size <= BODY_OCTETS_MAX,
        "{} has {size} octets, at most {BODY_OCTETS_MAX} are read",
        path.display()
    );
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

impl HeadFile {
    fn parts(self) -> anyhow::Result<(Head, Principal)> {
        let time = self.time.map(|time| units::time(&time.to_string())).transpose()?;
        let source = match &self.source {
            Some(source) => source.principal().context("`source`")?,
            None => Principal {
                id: PrincipalId::new("spiffe://local/device/test")?,
                stakeholder: "local".parse()?,
                zone: "local".parse()?,
                roles: Vec::new(),
            },
        };
        let attributes = self.attributes.into_iter().map(|(name, value)| Attribute { name, value });
        let head = Head {
            time: time.unwrap_or(TIME),
            expires: None,
            deliver_after: None,
            key: self.key,
            content_type: self.content_type,
            attributes: attributes.collect(),
            labels: self.labels,
            trace: None,
        };
        Ok((head, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let text = "content_type = \"text/plain\"\ntime = 2026-01-05T08:00:00.125+01:00\nkey = \"k\"\nlabels = [\"phi\"]\n\
                    attributes = [[\"ward\", \"3\"], [\"ward\", \"4\"]]\n";
        fs::write(folder.path().join("a.toml"), text).unwrap();
        fs::write(folder.path().join("a.body"), b"\0body").unwrap();
        let mut record = read(folder.path()).unwrap().remove(0);
        record.name = "b".into();
        record.write(folder.path()).unwrap();
        let again = read(folder.path()).unwrap().remove(1);
        assert_eq!(
            (&again.head, &again.body, again.head.time),
            (&record.head, &record.body, Timestamp(1_767_596_400_125))
        );
        assert!(record.write(folder.path()).unwrap_err().to_string().contains("b.toml"));
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.toml"), "content_type = \"text/plain\"\n").unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("a.body"));
        fs::write(folder.path().join("a.toml"), "content_type = \"text/plain\"\ncontent = 1\n").unwrap();
        assert!(format!("{:#}", read(folder.path()).unwrap_err()).contains("unknown field `content`"));
        fs::write(folder.path().join("a.toml"), "content_type = \"text/plain\"\nbody = \"../a.body\"\n")
            .unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("of the same folder"));
    }
}
