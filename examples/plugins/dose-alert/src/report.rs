//! Reads a radiation dose report: the content tree of a structured report (PS3.3 C.17.3) by the templates of CT (PS3.16 TID 10011)
//! and of projection X-ray (TID 10001).

use hilum_formats::dicom::{DataSet, Error, MemoryPipe, Stream, Tag, read_file_meta, trim};

use crate::settings::Quantity;

/// X-Ray Radiation Dose SR Storage and Enhanced X-Ray Radiation Dose SR Storage.
const SOP_CLASSES: [&[u8]; 2] = [b"1.2.840.10008.5.1.4.1.1.88.67", b"1.2.840.10008.5.1.4.1.1.88.76"];

const MEDIA_STORAGE_SOP_CLASS: Tag = Tag(0x0002_0002);
const SOP_INSTANCE: Tag = Tag(0x0008_0018);
const PROCEDURE_CODES: Tag = Tag(0x0008_1032);
const STUDY_DESCRIPTION: Tag = Tag(0x0008_1030);
const CODE_VALUE: Tag = Tag(0x0008_0100);
const CODING_SCHEME: Tag = Tag(0x0008_0102);
const PATIENT_ID: Tag = Tag(0x0010_0020);
const PATIENT_ID_ISSUER: Tag = Tag(0x0010_0021);
const UNITS: Tag = Tag(0x0040_08EA);
const CONCEPT_NAME: Tag = Tag(0x0040_A043);
const CONCEPT_CODE: Tag = Tag(0x0040_A168);
const MEASURED_VALUE: Tag = Tag(0x0040_A300);
const NUMERIC_VALUE: Tag = Tag(0x0040_A30A);
const CONTENT: Tag = Tag(0x0040_A730);

/// Values under implicit VR that are sequences.
const SEQUENCES: [Tag; 6] = [PROCEDURE_CODES, UNITS, CONCEPT_NAME, CONCEPT_CODE, MEASURED_VALUE, CONTENT];

/// Concepts of DCM (PS3.16 annex D): totals of an examination, and the index of one acquisition.
const CT_DLP_TOTAL: &str = "113813";
const CT_MEAN_CTDI_VOL: &str = "113830";
const DAP_TOTAL: &str = "113722";
const RP_DOSE_TOTAL: &str = "113725";

/// What a report says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// The patient's identifier and who issued it; goes no further than into a pseudonym.
    pub(crate) patient: Option<Vec<u8>>,
    /// The SOP instance, which a repetition has too.
    pub(crate) instance: Vec<u8>,
    pub(crate) description: String,
    /// `SCHEME:VALUE` of each procedure code.
    pub(crate) procedures: Vec<String>,
    doses: [Option<f64>; Quantity::ALL.len()],
}

impl Report {
    /// The dose of a quantity in its unit: the greatest index of the acquisitions, or the sum of the totals of the examination.
    pub(crate) fn dose(&self, quantity: Quantity) -> Option<f64> {
        self.doses[quantity.index()]
    }
}

/// Whether an object, or its beginning, is a radiation dose report.
pub(crate) fn is_report(beginning: &[u8]) -> bool {
    let mut pipe = MemoryPipe::new(beginning);
    let mut stream = Stream::new(&mut pipe);
    let mut class = Vec::new();
    // The beginning may end before the file meta information does; by then the class is known.
    let _ = read_file_meta(&mut stream, |stream, header, length| {
        if header.tag == MEDIA_STORAGE_SOP_CLASS {
            class = stream.take_value(length)?;
            return Ok(());
        }
        stream.skip(length)
    });
    SOP_CLASSES.contains(&trim(&class))
}

/// # Errors
///
/// When it is no object that can be read, or says no dose in a unit that is known.
pub(crate) fn read(octets: &[u8]) -> Result<Report, Error> {
    let object = DataSet::parse(octets, &SEQUENCES)?;
    let instance = object.text(SOP_INSTANCE).unwrap_or_default().as_bytes().to_vec();
    if instance.is_empty() {
        return Err(Error::new("incomplete-object", "there is no SOP Instance UID (0008,0018)"));
    }
    let patient = object.text(PATIENT_ID).filter(|identifier| !identifier.is_empty()).map(|identifier| {
        let issuer = object.text(PATIENT_ID_ISSUER).unwrap_or_default();
        format!("{identifier}\0{issuer}").into_bytes()
    });
    let code = |item: &DataSet| Some(format!("{}:{}", item.text(CODING_SCHEME)?, item.text(CODE_VALUE)?));
    let mut report = Report {
        patient,
        instance,
        description: object.text(STUDY_DESCRIPTION).unwrap_or_default().to_owned(),
        procedures: object.items(PROCEDURE_CODES).iter().filter_map(code).collect(),
        doses: [None; Quantity::ALL.len()],
    };
    gather(object.items(CONTENT), &mut report.doses)?;
    if report.doses.iter().all(Option::is_none) {
        return Err(Error::new("no-dose", "the report has none of the doses that are watched"));
    }
    Ok(report)
}

fn gather(items: &[DataSet], doses: &mut [Option<f64>; Quantity::ALL.len()]) -> Result<(), Error> {
    for item in items {
        let name = item.items(CONCEPT_NAME).first();
        let name = name
            .filter(|name| name.text(CODING_SCHEME) == Some("DCM"))
            .and_then(|name| name.text(CODE_VALUE));
        let quantity = match name {
            Some(CT_MEAN_CTDI_VOL) => Some(Quantity::CtdiVol),
            Some(CT_DLP_TOTAL) => Some(Quantity::Dlp),
            Some(DAP_TOTAL) => Some(Quantity::Dap),
            Some(RP_DOSE_TOTAL) => Some(Quantity::ReferencePoint),
            _ => None,
        };
        // A measurement may be stated to be missing: then it has no value.
        if let (Some(quantity), Some(measured)) = (quantity, item.items(MEASURED_VALUE).first()) {
            let value = measure(measured, quantity)?;
            let dose = &mut doses[quantity.index()];
            *dose = Some(match (*dose, quantity) {
                (None, _) => value,
                (Some(before), Quantity::CtdiVol) => before.max(value),
                // Biplane systems report a total for each plane.
                (Some(before), _) => before + value,
            });
        }
        gather(item.items(CONTENT), doses)?;
    }
    Ok(())
}

/// A measured value in the quantity's unit.
fn measure(measured: &DataSet, quantity: Quantity) -> Result<f64, Error> {
    let wrong = |what: &str| Error::new("dose", format!("{what} of {}", quantity.name()));
    let value = measured.text(NUMERIC_VALUE).and_then(|text| text.trim().parse::<f64>().ok());
    let value = value.filter(|value| value.is_finite() && (0.0..1e9).contains(value));
    let unit = measured.items(UNITS).first().and_then(|unit| unit.text(CODE_VALUE)).unwrap_or_default();
    let factor = quantity.factor(unit).ok_or_else(|| wrong("an unknown unit"))?;
    Ok(value.ok_or_else(|| wrong("an implausible value"))? * factor)
}
