//! Objects that there are always: images of two patients, a report, and images with text in their pixels, made for the rules of a stage.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject};

use super::super::values::Values;
use super::deflated::DEFLATED;
use super::{PIXEL_DATA, pixels};

const COMPUTED_RADIOGRAPHY: &str = "1.2.840.10008.5.1.4.1.1.1";
const ULTRASOUND: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const COMPREHENSIVE_SR: &str = "1.2.840.10008.5.1.4.1.1.88.33";
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";
/// Rows and columns of an image where a rule says nothing.
const ROWS: u16 = 96;
const COLUMNS: u16 = 128;
/// Images that are made for the masks of a stage's rules.
const MASKS_MAX: usize = 64;
/// Characters of a text in pixels.
const TEXT_DIGITS: usize = 8;

/// An object that there is always.
pub(in super::super) struct BuiltIn {
    pub(in super::super) object: DefaultDicomObject,
    /// Which of the two patients.
    pub(in super::super) patient: usize,
    /// Text in its pixels.
    pub(in super::super) rectangles: Vec<[u32; 4]>,
    /// Why it may be refused.
    pub(in super::super) may_be_refused: Option<&'static str>,
    /// The option without which nobody looks at its pixels.
    pub(in super::super) needs: Option<&'static str>,
}

/// The objects without text in their pixels.
pub(in super::super) fn plain() -> anyhow::Result<Vec<BuiltIn>> {
    let image = |patient, study, instance, octets, syntax| {
        let object = image(Look { study, instance, octets, syntax, ..Look::default() });
        of(object, patient)
    };
    Ok(vec![
        image(0, 1, 1, 2, EXPLICIT_LITTLE)?,
        image(0, 1, 2, 2, IMPLICIT_LITTLE)?,
        image(1, 2, 3, 1, EXPLICIT_BIG)?,
        image(1, 2, 4, 1, RLE_LOSSLESS)?,
        image(0, 1, 6, 2, DEFLATED)?,
        of(report(), 1)?,
    ])
}

fn of(object: anyhow::Result<DefaultDicomObject>, patient: usize) -> anyhow::Result<BuiltIn> {
    Ok(BuiltIn { object: object?, patient, rectangles: Vec::new(), may_be_refused: None, needs: None })
}

/// Objects with a text in their pixels: some say so, some do not, and one fits each mask of a stage's rules.
pub(in super::super) fn with_text(rules: &str, values: &mut Values) -> anyhow::Result<Vec<BuiltIn>> {
    let mut made = Vec::new();
    for (octets, syntax) in [(2, EXPLICIT_LITTLE), (1, EXPLICIT_LITTLE), (1, RLE_LOSSLESS), (2, RLE_LOSSLESS)]
    {
        let look = Look { octets, syntax, instance: 10 + made.len(), says: Some("YES"), ..Look::default() };
        made.extend(burned(&look, &[[8, 8, 100, 20]], "text in its pixels, which it says", None, values)?);
    }
    for (class, modality) in [(ULTRASOUND, "US"), (SECONDARY_CAPTURE, "OT")] {
        let look =
            Look { class, modality, octets: 1, instance: 10 + made.len(), says: None, ..Look::default() };
        let why = "text in the pixels of a kind of image that often has some";
        made.extend(burned(&look, &[[8, 8, 100, 20]], why, Some("clean-pixel-data"), values)?);
    }
    for rule in Rule::masks(rules).into_iter().take(MASKS_MAX) {
        let instance = 10 + made.len();
        for syntax in [EXPLICIT_LITTLE, RLE_LOSSLESS] {
            let look = Look { octets: 1, syntax, instance, says: Some("YES"), ..rule.look() };
            let why = "another rule may come first";
            made.extend(burned(&look, &rule.rectangles, why, Some("clean-pixel-data"), values)?);
        }
    }
    Ok(made)
}

fn burned(
    look: &Look<'_>,
    within: &[[u32; 4]],
    why: &'static str,
    needs: Option<&'static str>,
    values: &mut Values,
) -> anyhow::Result<Option<BuiltIn>> {
    let mut object = image(*look)?;
    let mut rectangles = Vec::new();
    for rectangle in within {
        let text = values.digits(TEXT_DIGITS);
        if pixels::burn(&mut object, look.syntax, &text, *rectangle).is_some() {
            // All of it is what a rule covers: nothing else of it has to stay.
            rectangles.push(*rectangle);
        }
    }
    let made = BuiltIn { object, patient: 0, rectangles, may_be_refused: Some(why), needs };
    Ok((!made.rectangles.is_empty()).then_some(made))
}

/// What an image is made as.
#[derive(Clone, Copy)]
struct Look<'l> {
    class: &'l str,
    modality: &'l str,
    manufacturer: &'l str,
    model: &'l str,
    image_type: &'l str,
    rows: u16,
    columns: u16,
    octets: u16,
    syntax: &'l str,
    study: usize,
    instance: usize,
    /// Burned In Annotation.
    says: Option<&'l str>,
}

impl Default for Look<'_> {
    fn default() -> Self {
        Self {
            class: COMPUTED_RADIOGRAPHY,
            modality: "CR",
            manufacturer: "HILUM",
            model: "SCORE",
            image_type: "ORIGINAL\\PRIMARY",
            rows: ROWS,
            columns: COLUMNS,
            octets: 1,
            syntax: EXPLICIT_LITTLE,
            study: 1,
            instance: 1,
            says: Some("NO"),
        }
    }
}

fn put(object: &mut InMemDicomObject, group: u16, element: u16, vr: VR, value: impl Into<PrimitiveValue>) {
    object.put(DataElement::new(Tag(group, element), vr, value.into()));
}

/// The identity of an object within its study, before anything is planted.
fn identified(class: &str, study: usize, instance: usize) -> InMemDicomObject {
    let mut object = InMemDicomObject::new_empty();
    put(&mut object, 0x0008, 0x0016, VR::UI, class);
    put(&mut object, 0x0008, 0x0018, VR::UI, format!("built-in instance {instance}"));
    put(&mut object, 0x0020, 0x000D, VR::UI, study_of(study));
    put(&mut object, 0x0020, 0x000E, VR::UI, format!("built-in series {study}"));
    put(&mut object, 0x0020, 0x0013, VR::IS, instance.to_string());
    object
}

/// What stands for the study's unique identifier until one is planted, in every format.
pub(in super::super) fn study_of(study: usize) -> String {
    format!("built-in study {study}")
}

fn image(look: Look<'_>) -> anyhow::Result<DefaultDicomObject> {
    let mut object = identified(look.class, look.study, look.instance);
    put(
        &mut object,
        0x0008,
        0x0008,
        VR::CS,
        PrimitiveValue::Strs(look.image_type.split('\\').map(str::to_owned).collect()),
    );
    put(&mut object, 0x0008, 0x0060, VR::CS, look.modality);
    put(&mut object, 0x0008, 0x0070, VR::LO, look.manufacturer);
    put(&mut object, 0x0008, 0x1090, VR::LO, look.model);
    put(&mut object, 0x0018, 0x0060, VR::DS, "120.5");
    put(
        &mut object,
        0x0018,
        0x1164,
        VR::DS,
        PrimitiveValue::Strs(["0.5", "0.5"].map(str::to_owned).into_iter().collect()),
    );
    put(&mut object, 0x0028, 0x0002, VR::US, 1_u16);
    put(&mut object, 0x0028, 0x0004, VR::CS, "MONOCHROME2");
    put(&mut object, 0x0028, 0x0010, VR::US, look.rows);
    put(&mut object, 0x0028, 0x0011, VR::US, look.columns);
    let bits = look.octets * 8;
    for (element, value) in [(0x0100, bits), (0x0101, bits), (0x0102, bits - 1), (0x0103, 0)] {
        put(&mut object, 0x0028, element, VR::US, value);
    }
    if let Some(says) = look.says {
        put(&mut object, 0x0028, 0x0301, VR::CS, says);
    }
    // A carrier of codes that is no attribute of the table.
    let mut code = InMemDicomObject::new_empty();
    put(&mut code, 0x0008, 0x0100, VR::SH, "113014");
    put(&mut code, 0x0008, 0x0102, VR::SH, "DCM");
    put(&mut code, 0x0008, 0x0104, VR::LO, "Study");
    object.put(DataElement::new(Tag(0x0008, 0x2228), VR::SQ, DataSetSequence::from(vec![code])));
    let count = usize::from(look.rows) * usize::from(look.columns);
    // A slow slope, in which no detector sees text.
    let sample = |at: usize| u8::try_from(16 + at / usize::from(look.columns) / 16 % 8).unwrap_or(16);
    let octets = usize::from(look.octets);
    let samples: Vec<u8> = (0..count).flat_map(|at| std::iter::repeat_n(sample(at), octets)).collect();
    let words =
        |samples: &[u8]| samples.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let value = match look.octets {
        2 => (VR::OW, PrimitiveValue::U16(words(&samples))),
        _ => (VR::OB, PrimitiveValue::U8(samples.clone().into())),
    };
    if look.syntax == RLE_LOSSLESS {
        let fragments = vec![super::rle::encode(&samples, 1, octets)];
        let fragments = dicom_core::value::PixelFragmentSequence::new_fragments(fragments);
        object.put(DataElement::new(PIXEL_DATA, VR::OB, dicom_core::value::Value::PixelSequence(fragments)));
    } else {
        object.put(DataElement::new(PIXEL_DATA, value.0, value.1));
    }
    finished(object, look.class, look.syntax)
}

/// A comprehensive structured report.
fn report() -> anyhow::Result<DefaultDicomObject> {
    let mut object = identified(COMPREHENSIVE_SR, 2, 5);
    put(&mut object, 0x0008, 0x0060, VR::CS, "SR");
    put(&mut object, 0x0040, 0xA040, VR::CS, "CONTAINER");
    put(&mut object, 0x0040, 0xA050, VR::CS, "SEPARATE");
    put(&mut object, 0x0040, 0xA491, VR::CS, "COMPLETE");
    finished(object, COMPREHENSIVE_SR, EXPLICIT_LITTLE)
}

fn finished(object: InMemDicomObject, class: &str, syntax: &str) -> anyhow::Result<DefaultDicomObject> {
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid("1.2")
        .transfer_syntax(syntax)
        .build()?;
    Ok(object.with_exact_meta(meta))
}

/// A row of a stage's pixel rules that masks.
struct Rule {
    cells: std::collections::BTreeMap<String, String>,
    rectangles: Vec<[u32; 4]>,
}

impl Rule {
    /// The rules that mask, as the plugin's README describes their form.
    fn masks(text: &str) -> Vec<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        let rule = |line: &str| {
            let cells = names.iter().map(|name| (*name).to_owned()).zip(line.split('\t').map(str::to_owned));
            let cells: std::collections::BTreeMap<_, _> = cells.collect();
            let mut words = cells.get("action")?.split_whitespace();
            (words.next()? == "mask").then_some(())?;
            let mut rule = Self { rectangles: Vec::new(), cells };
            let words: Vec<String> =
                rule.cells["action"].split_whitespace().skip(1).map(str::to_owned).collect();
            let (rows, columns) =
                (u32::from(rule.number("rows", ROWS)), u32::from(rule.number("columns", COLUMNS)));
            let masks = words.iter().take_while(|word| *word != "known");
            rule.rectangles = masks.filter_map(|word| rectangle(word, columns, rows)).collect();
            Some(rule)
        };
        lines.filter_map(rule).filter(|rule| !rule.rectangles.is_empty()).collect()
    }

    fn number(&self, name: &str, default: u16) -> u16 {
        // Where any size will do, one that most rectangles fit into.
        let any = default.max(512);
        self.cells.get(name).and_then(|cell| cell.parse().ok()).unwrap_or(any)
    }

    /// Something that fits a pattern.
    fn cell<'r>(&'r self, name: &str, default: &'r str) -> &'r str {
        match self.cells.get(name).map(String::as_str) {
            None | Some("" | "*") => default,
            Some(cell) => cell.trim_matches('*'),
        }
    }

    fn look(&self) -> Look<'_> {
        let modality = self.cell("modality", "US");
        let class = if modality == "US" { ULTRASOUND } else { COMPUTED_RADIOGRAPHY };
        Look {
            class: self.cell("sop_class", class),
            modality,
            manufacturer: self.cell("manufacturer", "HILUM"),
            model: self.cell("model", "SCORE"),
            image_type: self.cell("image_type", "ORIGINAL\\PRIMARY"),
            rows: self.number("rows", ROWS),
            columns: self.number("columns", COLUMNS),
            ..Look::default()
        }
    }
}

/// `left,top,width,height`, of which the last two may be `*`.
fn rectangle(word: &str, columns: u32, rows: u32) -> Option<[u32; 4]> {
    let parts: Vec<&str> = word.split(',').collect();
    let [left, top, width, height] = parts.as_slice() else { return None };
    let (left, top): (u32, u32) = (left.parse().ok()?, top.parse().ok()?);
    let to_edge = |part: &str, from: u32, edge: u32| match part {
        "*" => edge.checked_sub(from),
        part => part.parse().ok(),
    };
    let (width, height) = (to_edge(width, left, columns)?, to_edge(height, top, rows)?);
    (left + width <= columns && top + height <= rows).then_some([left, top, width, height])
}

/// The patient's number that an object has.
pub(in super::super) fn patient_of(object: &DefaultDicomObject) -> Option<String> {
    let element = object.get(Tag(0x0010, 0x0020))?;
    (element.vr() == VR::LO).then(|| super::text_of(element)).flatten().filter(|text| !text.is_empty())
}
