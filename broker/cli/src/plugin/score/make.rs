//! Makes the planted files of a folder and their answer key, from what is built in and from real files, or reads those that are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hilum_core::Digest;
use indicatif::ProgressBar;

use super::dicom::built_in::{self, BuiltIn};
use super::dicom::plant::Planter;
use super::dicom::{self, pixels};
use super::key::{FORM, Format, Key, Mark, Planted};
use super::table::Table;
use super::values::Values;
use super::{fhir, hl7, x12};
use crate::output::Failure;

/// The answer key's file, and the folder of the planted files beside it.
const KEY: &str = "key.json";
const PLANTED: &str = "planted";
/// Octets of one real file, and real files.
const FILE_OCTETS_MAX: u64 = 48 << 20;
const FILES_MAX: usize = 20_000;
/// Digits of a patient's number.
const NUMBER_DIGITS: usize = 10;
/// Digits of text that is burned into a real image, and where.
const BURNED_DIGITS: usize = 8;
const BURNED: [u32; 4] = [4, 4, 56, 12];

macro_rules! samples {
    ($($name:literal: $format:ident),+ $(,)?) => {
        &[$(($name, Format::$format, include_str!(concat!("samples/", $name)))),+]
    };
}
/// Messages that there are always. `PATIENT-NUMBER` and `STUDY-UID` stand for what DICOM has too.
const SAMPLES: &[(&str, Format, &str)] = samples!(
    "adt-a01.hl7": Hl7, "adt-a40.hl7": Hl7, "orm-o01.hl7": Hl7, "oru-r01.hl7": Hl7, "dft-p03.hl7": Hl7, "mdm-t02.hl7": Hl7, "siu-s12.hl7": Hl7,
    "837p.edi": X12, "837i.edi": X12, "837d.edi": X12, "835.edi": X12, "270.edi": X12, "271.edi": X12, "276.edi": X12, "277.edi": X12,
    "bundle.json": Fhir,
);

/// A folder with planted files.
pub(super) struct Folder {
    root: PathBuf,
    pub(super) key: Key,
}

impl Folder {
    /// The octets of a planted file, which are those that were planted.
    pub(super) fn read(&self, planted: &Planted) -> anyhow::Result<Vec<u8>> {
        let path = self.root.join(PLANTED).join(&planted.file);
        let octets = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if Digest::of(&octets).to_string() != planted.sha256 {
            let what = format!("{} is not what was planted", path.display());
            return Err(Failure::new(what, "plant again, into another folder").into());
        }
        Ok(octets)
    }

    /// Reads what was planted before; none where nothing was.
    pub(super) fn open(
        root: &Path,
        seed: Option<u64>,
        from: Option<&Path>,
        rules: &str,
    ) -> anyhow::Result<Option<Self>> {
        let path = root.join(KEY);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let key: Key =
            serde_json::from_slice(&text).with_context(|| format!("{} is no answer key", path.display()))?;
        let other = |what: &str| {
            Failure::new(
                format!("{} is there already, {what}", path.display()),
                "name another folder with --planted",
            )
        };
        if key.form != FORM {
            return Err(other("of another version of Hilum").into());
        }
        if from.is_some() {
            return Err(other("and its files are used as they are; --from would plant others").into());
        }
        if seed.is_some_and(|seed| seed != key.seed) {
            return Err(other(&format!("planted with seed {}", key.seed)).into());
        }
        if key.pixel_rules != rules {
            return Err(other("and its images were made for other pixel rules").into());
        }
        Ok(Some(Self { root: root.to_owned(), key }))
    }
}

/// Whether the plugin takes a file as it is, before anything is planted; otherwise the code that it is refused with.
pub(super) type Takes<'t> = &'t mut dyn FnMut(Format, &[u8]) -> anyhow::Result<Result<(), String>>;

/// Makes planted files.
pub(super) struct Maker<'m> {
    root: PathBuf,
    planter: Planter<'m>,
    values: Values,
    key: Key,
    /// Numbers of patients by whose they were.
    patients: BTreeMap<String, String>,
}

impl<'m> Maker<'m> {
    pub(super) fn new(root: &Path, table: &'m Table, seed: u64, pixel_rules: &str) -> anyhow::Result<Self> {
        let folder = root.join(PLANTED);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        if fs::read_dir(&folder)?.next().is_some() {
            let what = format!("{} has files in it, and there is no answer key beside it", folder.display());
            return Err(Failure::new(what, "name an empty folder with --planted").into());
        }
        let key = Key {
            form: FORM.into(),
            seed,
            pixel_rules: digest_of_rules(pixel_rules),
            files: Vec::new(),
            left_out: BTreeMap::new(),
        };
        let (planter, values) = (Planter::new(table), Values::new(seed));
        Ok(Self { root: root.to_owned(), planter, values, key, patients: BTreeMap::new() })
    }

    /// Writes the answer key.
    pub(super) fn finish(self) -> anyhow::Result<Folder> {
        let path = self.root.join(KEY);
        fs::write(&path, serde_json::to_vec(&self.key)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Folder { root: self.root, key: self.key })
    }

    /// The files that there are always.
    pub(super) fn built_in(&mut self, pixel_rules: &str) -> anyhow::Result<()> {
        for image in built_in::plain()? {
            let patient = self.patient(&format!("built-in {}", image.patient));
            let planted = self.planter.plant(&image.object, &patient, &mut self.values);
            self.add(
                Format::Dicom,
                patient,
                planted.context("an object that is built in cannot be written")?,
                None,
            )?;
        }
        for image in built_in::with_text(pixel_rules, &mut self.values)? {
            self.burned(&image)?;
        }
        let study = self.values.uid_for(&built_in::study_of(1));
        for (_, format, text) in SAMPLES {
            let patient = self.patient("built-in 0");
            let text = text.replace("PATIENT-NUMBER", &patient).replace("STUDY-UID", &study);
            let planted = self.message(*format, &text, &patient);
            self.add(
                *format,
                patient,
                planted.context("a message that is built in cannot be planted")?,
                None,
            )?;
        }
        let (text, marks) = fhir::telemetry(&mut self.values);
        let patient = self.patient("built-in 0");
        self.add(Format::Telemetry, patient, (text.into_bytes(), marks), None)
    }

    fn burned(&mut self, image: &BuiltIn) -> anyhow::Result<()> {
        let patient = self.patient(&format!("built-in {}", image.patient));
        let planted =
            self.planter.plant_identity(&image.object, &patient, &image.rectangles, &mut self.values);
        let refusal = image.may_be_refused.map(|why| (why, image.needs));
        self.add(
            Format::Dicom,
            patient,
            planted.context("an image that is built in cannot be written")?,
            refusal,
        )
    }

    fn message(&mut self, format: Format, text: &str, patient: &str) -> Option<(Vec<u8>, Vec<Mark>)> {
        let (text, marks) = match format {
            Format::Hl7 => hl7::plant(text, patient, &mut self.values),
            Format::X12 => x12::plant(text, patient, &mut self.values),
            Format::Fhir => fhir::plant(text, patient, &mut self.values),
            Format::Dicom | Format::Telemetry => None,
        }?;
        Some((text.into_bytes(), marks))
    }

    /// The number of a patient, by who they were.
    fn patient(&mut self, of: &str) -> String {
        if let Some(number) = self.patients.get(of) {
            return number.clone();
        }
        let number = self.values.digits(NUMBER_DIGITS);
        self.patients.insert(of.to_owned(), number.clone());
        number
    }

    /// Writes a planted file. Its name and its record's key are identifiers as well.
    fn add(
        &mut self,
        format: Format,
        patient: String,
        (octets, mut marks): (Vec<u8>, Vec<Mark>),
        refusal: Option<(&str, Option<&str>)>,
    ) -> anyhow::Result<()> {
        let token = self.values.token();
        let file = format!("{:05}-{token}.{}", self.key.files.len(), format.ending());
        marks.push(Mark::new("head.file_name", super::key::Kind::Text, token, 'A'));
        marks.push(Mark::new("head.key", super::key::Kind::Text, patient.clone(), 'H'));
        marks.push(Mark::new("head.time", super::key::Kind::Date, super::TIME_DIGITS, 'C'));
        let path = self.root.join(PLANTED).join(&file);
        fs::write(&path, &octets).with_context(|| format!("cannot write {}", path.display()))?;
        self.key.files.push(Planted {
            file,
            sha256: Digest::of(&octets).to_string(),
            format,
            record_key: patient,
            may_be_refused: refusal.map(|(why, _)| why.to_owned()),
            needs: refusal.and_then(|(_, needs)| needs.map(str::to_owned)),
            marks,
        });
        Ok(())
    }

    /// Plants into real files. Those that the plugin refuses as they are would show nothing.
    pub(super) fn real(&mut self, from: &Path, has_rules: bool, takes: Takes<'_>) -> anyhow::Result<()> {
        let files = files(from)?;
        let bar = super::progress(files.len() as u64, "planting");
        for file in &files {
            if let Some(reason) = self.real_file(file, has_rules, takes)? {
                *self.key.left_out.entry(reason).or_default() += 1;
            }
            bar.inc(1);
        }
        ProgressBar::finish_and_clear(&bar);
        Ok(())
    }

    /// Why nothing was planted.
    fn real_file(
        &mut self,
        file: &Path,
        has_rules: bool,
        takes: Takes<'_>,
    ) -> anyhow::Result<Option<String>> {
        if fs::metadata(file)?.len() > FILE_OCTETS_MAX {
            return Ok(Some("too large".into()));
        }
        let octets = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let Some(format) = format_of(&octets) else {
            return Ok(Some("of no format that is planted into".into()));
        };
        if let Err(code) = takes(format, &octets)? {
            return Ok(Some(format!("refused as it was: {code}")));
        }
        let own = file.display().to_string();
        if format != Format::Dicom {
            let patient = self.patient(&own);
            let text = String::from_utf8(octets).ok();
            return match text.and_then(|text| self.message(format, &text, &patient)) {
                Some(planted) => self.add(format, patient, planted, None).map(|()| None),
                None => Ok(Some("cannot be read by the planter".into())),
            };
        }
        let Some(object) = dicom::open(&octets) else { return Ok(Some("cannot be read by dicom-rs".into())) };
        if !dicom::has_class(&object) {
            return Ok(Some("without a SOP class that dicom-rs reads".into()));
        }
        let whose = built_in::patient_of(&object).map_or(own, |number| format!("real {number}"));
        let patient = self.patient(&whose);
        let Some(planted) = self.planter.plant(&object, &patient, &mut self.values) else {
            return Ok(Some("cannot be written by dicom-rs".into()));
        };
        self.add(Format::Dicom, patient.clone(), planted, None)?;
        if !has_rules {
            self.burned_copy(object, &patient)?;
        }
        Ok(None)
    }

    /// A copy with text in its pixels, which says so, where pixels can be written.
    fn burned_copy(
        &mut self,
        mut object: dicom_object::DefaultDicomObject,
        patient: &str,
    ) -> anyhow::Result<()> {
        let syntax = object.meta().transfer_syntax.trim_end_matches('\0').to_owned();
        let text = self.values.digits(BURNED_DIGITS);
        let Some(rectangle) = pixels::burn(&mut object, &syntax, &text, BURNED) else { return Ok(()) };
        object.put(dicom_core::DataElement::new(
            dicom_core::Tag(0x0028, 0x0301),
            dicom_core::VR::CS,
            dicom_core::value::PrimitiveValue::from("YES"),
        ));
        let planted = self.planter.plant_identity(&object, patient, &[rectangle], &mut self.values);
        match planted {
            Some(planted) => self.add(
                Format::Dicom,
                patient.to_owned(),
                planted,
                Some(("text in its pixels, which it says", None)),
            ),
            None => Ok(()),
        }
    }
}

/// Of a stage's pixel rules; empty where it has none.
pub(super) fn digest_of_rules(rules: &str) -> String {
    if rules.is_empty() { String::new() } else { Digest::of(rules.as_bytes()).to_string() }
}

/// By how it begins.
fn format_of(octets: &[u8]) -> Option<Format> {
    if octets.get(128..132) == Some(b"DICM") {
        return Some(Format::Dicom);
    }
    let start = octets.trim_ascii_start();
    match start.get(..3)? {
        b"MSH" => Some(Format::Hl7),
        b"ISA" => Some(Format::X12),
        [b'{', ..] => {
            let value: serde_json::Value = serde_json::from_slice(octets).ok()?;
            value.get("resourceType").map(|_| Format::Fhir)
        }
        _ => None,
    }
}

/// The files below a folder, in order of their paths.
fn files(from: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![from.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
        anyhow::ensure!(found.len() <= FILES_MAX, "{} has more than {FILES_MAX} files", from.display());
    }
    found.sort();
    Ok(found)
}
