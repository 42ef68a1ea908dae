//! Plants an identifier into every attribute of Table E.1-1, into names, dates and texts that it leaves out, into private attributes and
//! ones that nobody knows: at the top level, in two sequences within each other, and where the object has such attributes itself. Where the object
//! states value representations, it is all planted once more as values of unknown representation (PS3.5 section 6.2.2).

use std::collections::BTreeMap;

use dicom_core::dictionary::{DataDictionary as _, DataDictionaryEntry as _};
use dicom_core::header::Header as _;
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_object::mem::InMemElement;
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject, StandardDataDictionary};

use super::super::key::{Kind, Mark};
use super::super::table::{Row, Table, dictionary, identifier, safe_private};
use super::super::values::Values;
use super::deflated::{DEFLATED, deflated};
use super::{PIXEL_DATA, is_filled, shown, text_of};

/// Performed Protocol Code Sequence: the table does not name it, so what is in it is judged by its own rows.
const CARRIER: Tag = Tag(0x0040, 0x0260);
/// Levels that are planted into: the top, and two sequences.
const DEPTH: usize = 3;
/// Value representations whose values cannot be told from octets.
const NUMBERS: [VR; 1] = [VR::US];
/// Meaning of a code, and a name: what is planted into sequences.
const MEANING: Tag = Tag(0x0008, 0x0104);
const NAME: Tag = Tag(0x0010, 0x0010);
/// Value representations that hold nothing but what an attribute is about.
const HARMLESS: [VR; 14] = [
    VR::AT,
    VR::CS,
    VR::DS,
    VR::FD,
    VR::FL,
    VR::IS,
    VR::OB,
    VR::OW,
    VR::SH,
    VR::LO,
    VR::SL,
    VR::SS,
    VR::UL,
    VR::US,
];
/// Beyond the table: names, dates, and texts that anything may be written in.
const BEYOND: [&str; 7] = ["PN", "DA", "DT", "LT", "ST", "UR", "UT"];
/// URN Code Value is a code.
const CODES: [(u16, u16); 1] = [(0x0008, 0x0120)];
/// What de-identification itself writes.
const WRITTEN: [Tag; 9] = [
    Tag(0x0008, 0x0005),
    Tag(0x0012, 0x0062),
    Tag(0x0012, 0x0063),
    Tag(0x0012, 0x0064),
    Tag(0x0028, 0x0301),
    Tag(0x0028, 0x0302),
    Tag(0x0028, 0x0303),
    Tag(0x0008, 0x0300),
    CARRIER,
];
/// Whose an image is.
const IDENTITY: [(Tag, &str); 5] = [
    (Tag(0x0008, 0x0018), "UI"),
    (Tag(0x0010, 0x0010), "PN"),
    (Tag(0x0010, 0x0020), "LO"),
    (Tag(0x0020, 0x000D), "UI"),
    (Tag(0x0020, 0x000E), "UI"),
];
const IMPLICIT_LITTLE: &str = "1.2.840.10008.1.2";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Unique identifiers of DICOM itself begin so.
const OF_DICOM: &str = "1.2.840.10008.";

/// Plants into objects.
pub(in super::super) struct Planter<'p> {
    table: &'p Table,
    dictionary: BTreeMap<(u16, u16), &'static str>,
}

/// One object being planted.
struct Planting<'p> {
    planter: &'p Planter<'p>,
    values: &'p mut Values,
    patient: &'p str,
    marks: Vec<Mark>,
    /// Unique identifiers of the top level, which the first sequence repeats.
    uids: BTreeMap<Tag, String>,
    /// Whether the object states value representations, so that one may be unknown.
    is_explicit: bool,
    /// Whether it is stated as unknown now.
    is_unknown: bool,
}

impl<'p> Planter<'p> {
    pub(in super::super) fn new(table: &'p Table) -> Self {
        Self { table, dictionary: dictionary() }
    }

    /// The planted object and what is in it; none if it cannot be written.
    pub(in super::super) fn plant(
        &self,
        object: &DefaultDicomObject,
        patient: &str,
        values: &mut Values,
    ) -> Option<(Vec<u8>, Vec<Mark>)> {
        let syntax = object.meta().transfer_syntax.clone();
        let class = object.meta().media_storage_sop_class_uid.clone();
        let mut object: InMemDicomObject = (**object).clone();
        let mut planting = Planting::new(self, values, patient, &syntax);
        planting.walk(&mut object, "", 0);
        planting.level(&mut object, "", 0);
        planting.private(&mut object);
        if object.get(PIXEL_DATA).is_some() {
            planting.marks.push(Mark::harmless("(7FE0,0010)", Kind::Pixels, ""));
        }
        for path in ["(0012,0062)", "(0012,0063)", "(0012,0064)[0].(0008,0100)"] {
            planting.marks.push(Mark::harmless(path, Kind::Added, ""));
        }
        let octets = planting.write(object, &syntax, &class)?;
        Some((octets, planting.marks))
    }

    /// An image for its pixels: it gets its identity and no more, so that it stays what rules for pixels say of it.
    pub(in super::super) fn plant_identity(
        &self,
        object: &DefaultDicomObject,
        patient: &str,
        rectangles: &[[u32; 4]],
        values: &mut Values,
    ) -> Option<(Vec<u8>, Vec<Mark>)> {
        let syntax = object.meta().transfer_syntax.clone();
        let class = object.meta().media_storage_sop_class_uid.clone();
        let mut object: InMemDicomObject = (**object).clone();
        let mut planting = Planting::new(self, values, patient, &syntax);
        for (tag, vr) in IDENTITY {
            let keyword =
                planting.planter.table.row(&shown(tag)).map_or(String::new(), |row| row.keyword.clone());
            planting.attribute(&mut object, "", tag, vr, &keyword, 0);
        }
        let mut pixels = Mark::new("(7FE0,0010)", Kind::Pixels, "", 'A');
        pixels.rectangles = rectangles.to_vec();
        planting.marks.push(pixels);
        let octets = planting.write(object, &syntax, &class)?;
        Some((octets, planting.marks))
    }
}

impl<'p> Planting<'p> {
    fn new(planter: &'p Planter<'p>, values: &'p mut Values, patient: &'p str, syntax: &str) -> Self {
        Planting {
            planter,
            values,
            patient,
            marks: Vec::new(),
            uids: BTreeMap::new(),
            is_explicit: syntax.trim_end_matches('\0') != IMPLICIT_LITTLE,
            is_unknown: false,
        }
    }

    /// What is there already: attributes of the table in sequences get identifiers, the rest has to stay.
    fn walk(&mut self, object: &mut InMemDicomObject, prefix: &str, depth: usize) {
        for tag in object.tags().collect::<Vec<_>>() {
            let path = format!("{prefix}{}", shown(tag));
            if tag.group() % 2 == 1 {
                self.marks.push(Mark::new(path, Kind::Private, "", 'R'));
                continue;
            }
            let group = tag.group() & 0xFF00;
            if tag.element() == 0
                || tag.group() < 8
                || [0x5000, 0x6000].contains(&group)
                || WRITTEN.contains(&tag)
                || tag == PIXEL_DATA
            {
                continue;
            }
            let Some(mut element) = object.take(tag) else { continue };
            let vr = element.vr();
            if vr == VR::UN && self.is_explicit {
                self.unknown(object, element, &path, prefix, depth);
                continue;
            }
            if let Some(row) = self.planter.table.row(&shown(tag)) {
                let (name, keyword) = (vr_of(&row.vr, vr), row.keyword.clone());
                object.put(element);
                if depth > 0 {
                    self.attribute(object, prefix, tag, &name, &keyword, depth);
                }
                continue;
            }
            if let Some(items) = element.items_mut() {
                if !items.is_empty() {
                    self.marks.push(Mark::harmless(path.clone(), Kind::ExistingSequence, ""));
                }
                for (index, item) in items.iter_mut().enumerate() {
                    self.walk(item, &format!("{path}[{index}]."), depth + 1);
                }
            } else if let Some(text) = text_of(&element).filter(|_| is_filled(&element)) {
                let is_of_dicom = vr == VR::UI && text.starts_with(OF_DICOM);
                if HARMLESS.contains(&vr) || is_of_dicom {
                    self.marks.push(Mark::harmless(path, Kind::Existing, text));
                }
            }
            object.put(element);
        }
    }

    /// Every attribute at one level, and the levels below it.
    fn level(&mut self, object: &mut InMemDicomObject, prefix: &str, depth: usize) {
        let planter = self.planter;
        for ((group, element), row) in planter.table.rows().filter(|((group, _), _)| *group >= 8) {
            let tag = Tag(group, element);
            let of_dictionary = planter.dictionary.get(&(group, element)).copied();
            match of_dictionary.filter(|_| row.vr.is_empty()).or(Some(&row.vr)).filter(|vr| !vr.is_empty()) {
                Some(vr) => self.attribute(object, prefix, tag, vr, &row.keyword, depth),
                None => self.unsaid(object, prefix, tag, row, depth),
            }
        }
        for ((group, element), vr) in &planter.dictionary {
            let tag = Tag(*group, *element);
            let is_beyond = *group >= 8 && BEYOND.contains(vr) && !CODES.contains(&(*group, *element));
            if is_beyond && planter.table.row(&shown(tag)).is_none() {
                self.attribute(object, prefix, tag, vr, "", depth);
            }
        }
        let mut beyond = vec![
            (Tag(0x0009, 0x00F0), VR::LO),
            (Tag(0x0009, 0xF001), VR::LO),
            (Tag(0x0018, 0xFFF0), VR::LO),
            (Tag(0x5000, 0x2500), VR::LO),
            (Tag(0x6000, 0x0022), VR::LO),
            (Tag(0x6000, 0x4000), VR::LT),
            (Tag(0x7FE1, 0x00F0), VR::LO),
            (Tag(0x7FE1, 0xF010), VR::LO),
        ];
        if self.is_unknown {
            beyond.iter_mut().for_each(|(_, vr)| *vr = VR::UN);
        }
        for (tag, vr) in beyond {
            let token = self.values.token();
            self.marks.push(Mark::new(format!("{prefix}{}", shown(tag)), Kind::Unknown, token.clone(), 'R'));
            object.put(DataElement::new(tag, vr, PrimitiveValue::from(token)));
        }
        if depth + 1 < DEPTH && !self.is_unknown {
            let mut items = vec![InMemDicomObject::new_empty()];
            self.level(&mut items[0], &format!("{prefix}{}[0].", shown(CARRIER)), depth + 1);
            if self.is_explicit && depth == 0 {
                let mut item = InMemDicomObject::new_empty();
                self.is_unknown = true;
                self.level(&mut item, &format!("{prefix}{}[1].", shown(CARRIER)), depth + 1);
                self.is_unknown = false;
                items.push(item);
            }
            object.put(DataElement::new(CARRIER, VR::SQ, DataSetSequence::from(items)));
        }
    }

    /// An element of unknown representation that was there already. What holds a sequence would go on as one of unknown kind: valid (PS3.5 section
    /// 6.2.2), and nothing dicom-rs reads.
    fn unknown(
        &mut self,
        object: &mut InMemDicomObject,
        element: InMemElement,
        path: &str,
        prefix: &str,
        depth: usize,
    ) {
        let (tag, planter) = (element.tag(), self.planter);
        let row = planter.table.row(&shown(tag));
        let of_dictionary = planter.dictionary.get(&(tag.group(), tag.element())).copied();
        let vr = row.map(|row| row.vr.as_str()).filter(|vr| vr.len() >= 2).or(of_dictionary);
        match (row, vr) {
            (_, Some("SQ")) => {}
            (Some(row), Some(vr)) => {
                object.put(element);
                if depth > 0 {
                    self.is_unknown = true;
                    self.attribute(object, prefix, tag, vr, &row.keyword, depth);
                    self.is_unknown = false;
                }
            }
            (None, Some(_)) => {
                object.put(element);
            }
            (_, None) => {
                let token = self.values.token();
                self.marks.push(Mark::new(path, Kind::Unknown, token.clone(), 'R'));
                object.put(DataElement::new(tag, VR::UN, PrimitiveValue::U8(token.into_bytes().into())));
            }
        }
    }

    /// An attribute of which neither the table nor the dictionary says what its values are. It may stay where the object states it, and
    /// need not.
    fn unsaid(&mut self, object: &mut InMemDicomObject, prefix: &str, tag: Tag, row: &Row, depth: usize) {
        let entry = StandardDataDictionary.by_tag(tag);
        let vr = entry.map_or(VR::LO, |entry| entry.vr().relaxed());
        let before = self.marks.len();
        self.attribute(object, prefix, tag, vr.to_string(), &row.keyword, depth);
        for mark in &mut self.marks[before..] {
            if let Some((of, vr)) = &mut mark.attribute
                && *of == shown(tag)
            {
                vr.clear();
            }
        }
    }

    /// One attribute, in place of what is there.
    fn attribute(
        &mut self,
        object: &mut InMemDicomObject,
        prefix: &str,
        tag: Tag,
        vr: &str,
        keyword: &str,
        depth: usize,
    ) {
        let path = format!("{prefix}{}", shown(tag));
        let vr = vr.get(..2).unwrap_or("LO");
        let Ok(of_vr) = vr.parse::<VR>() else { return };
        if of_vr == VR::SQ {
            return self.sequence(object, &path, tag, keyword);
        }
        if self.is_unknown && NUMBERS.contains(&of_vr) {
            return;
        }
        let original = object.get(tag).and_then(text_of).unwrap_or_default();
        if of_vr == VR::UI && original.starts_with(OF_DICOM) {
            return;
        }
        let (kind, value) = self.value(tag, of_vr, &original, depth);
        let stated = if self.is_unknown { VR::UN } else { of_vr };
        let primitive = match stated {
            VR::US => PrimitiveValue::from(value.parse::<u16>().unwrap_or(u16::MAX)),
            VR::OB | VR::UN | VR::OW => PrimitiveValue::U8(value.as_bytes().to_vec().into()),
            _ => PrimitiveValue::from(value.clone()),
        };
        object.put(DataElement::new(tag, stated, primitive));
        let mut mark = Mark::new(path, kind, value, identifier(keyword, vr));
        mark.attribute = Some((shown(tag), vr.to_owned()));
        self.marks.push(mark);
    }

    fn value(&mut self, tag: Tag, vr: VR, original: &str, depth: usize) -> (Kind, String) {
        match vr {
            VR::UI => {
                let known = self.uids.get(&tag).filter(|_| depth == 1 && original.is_empty()).cloned();
                let uid = match (known, original) {
                    (Some(uid), _) => uid,
                    (None, "") => self.values.uid(),
                    (None, original) => self.values.uid_for(original),
                };
                if depth == 0 {
                    self.uids.insert(tag, uid.clone());
                }
                (Kind::Uid, uid)
            }
            VR::DA => (Kind::Date, self.values.date()),
            VR::DT => (Kind::Date, format!("{}{}", self.values.date(), self.values.time())),
            VR::TM => (Kind::Time, self.values.time()),
            VR::AS => (Kind::Age, if depth == 0 { "093Y".to_owned() } else { "047Y".to_owned() }),
            VR::DS => (Kind::Local, format!("{}.{}", self.values.digits(2), self.values.digits(4))),
            VR::IS => (Kind::Local, self.values.digits(7)),
            VR::US => (Kind::Local, (40_000 + self.values.below(20_000)).to_string()),
            _ if tag == Tag(0x0010, 0x0020) => (Kind::Patient, self.patient.to_owned()),
            _ => (Kind::Text, self.values.token()),
        }
    }

    /// A sequence with a person in it, whose row counts whatever that of the sequence says, and a meaning, for which that counts.
    fn sequence(&mut self, object: &mut InMemDicomObject, path: &str, tag: Tag, keyword: &str) {
        let row = self.planter.table.row(&shown(tag));
        if self.is_unknown && !row.is_some_and(Row::is_never_rewritten) {
            // It would go on as a sequence of unknown kind, which dicom-rs does not read.
            return;
        }
        let mut planted = Vec::new();
        let basic = row.map_or("X", |row| row.basic.as_str());
        if !basic.contains('U') {
            let token = self.values.token();
            let mut mark = Mark::new(
                format!("{path}[0].(0008,0104)"),
                Kind::Text,
                token.clone(),
                identifier(keyword, "SQ"),
            );
            mark.attribute = Some((shown(tag), "SQ".to_owned()));
            planted.push((MEANING, VR::LO, token));
            self.marks.push(mark);
        }
        let token = self.values.token();
        self.marks.push(Mark::new(format!("{path}[0].(0010,0010)"), Kind::Text, token.clone(), 'A'));
        planted.push((NAME, VR::PN, token));
        if self.is_unknown {
            let octets = PrimitiveValue::U8(item_of_unknown(&planted).into());
            object.put(DataElement::new(tag, VR::UN, octets));
            return;
        }
        let mut item = InMemDicomObject::new_empty();
        for (tag, vr, token) in planted {
            item.put(DataElement::new(tag, vr, PrimitiveValue::from(token)));
        }
        object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item])));
    }

    /// Private attributes that Table E.3.10-1 calls safe, in blocks of their creators.
    fn private(&mut self, object: &mut InMemDicomObject) {
        let mut blocks: BTreeMap<(u16, &str), u16> = BTreeMap::new();
        let mut next: BTreeMap<u16, u16> = BTreeMap::new();
        for (creator, group, element, vr) in safe_private() {
            let Ok(vr @ (VR::DS | VR::IS | VR::US)) = vr.parse::<VR>() else { continue };
            if !self.is_explicit && vr == VR::US {
                // What states no value representation goes on as octets, of which nobody can tell that they are a number.
                continue;
            }
            let block = *blocks.entry((group, creator)).or_insert_with(|| {
                let block = next.entry(group).or_insert(0xA0);
                *block += 1;
                *block
            });
            let creator = DataElement::new(Tag(group, block), VR::LO, PrimitiveValue::from(creator));
            object.put(creator);
            let tag = Tag(group, block << 8 | element);
            let value = self.values.digits(4);
            let primitive = match vr {
                VR::US => PrimitiveValue::from(value.parse::<u16>().unwrap_or(1)),
                _ => PrimitiveValue::from(value.clone()),
            };
            object.put(DataElement::new(tag, vr, primitive));
            self.marks.push(Mark::new(shown(tag), Kind::SafePrivate, value, 'R'));
        }
    }

    /// The object as a file, with identifiers in its meta information and before it.
    fn write(&mut self, object: InMemDicomObject, syntax: &str, class: &str) -> Option<Vec<u8>> {
        let instance = object.get(Tag(0x0008, 0x0018)).and_then(text_of)?;
        let [title, before] = [(); 2].map(|()| self.values.token());
        // What DICOM itself registers, a palette for one, stays what it is.
        if !instance.starts_with(OF_DICOM) {
            let mut of_meta = Mark::new("(0002,0003)", Kind::Uid, instance.clone(), 'R');
            of_meta.attribute = Some(("(0002,0003)".into(), "UI".into()));
            self.marks.push(of_meta);
        }
        self.marks.push(Mark::new("(0002,0016)", Kind::Unknown, title.clone(), 'O'));
        self.marks.push(Mark::new("preamble", Kind::Unknown, before.clone(), 'R'));
        let is_deflated = syntax.trim_end_matches('\0') == DEFLATED;
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid(instance)
            .transfer_syntax(if is_deflated { EXPLICIT_LITTLE } else { syntax })
            .source_application_entity_title(title)
            .build()
            .ok()?;
        let mut octets = Vec::new();
        object.with_exact_meta(meta).write_all(&mut octets).ok()?;
        octets.get_mut(..before.len())?.copy_from_slice(before.as_bytes());
        if is_deflated {
            octets = deflated(&octets)?;
        }
        // What cannot be read again cannot be compared with what comes out.
        super::open(&octets).map(|_| octets)
    }
}

/// An item as a value of unknown representation holds it: implicit and little endian (PS3.5 section 6.2.2). Tokens are of an even length.
fn item_of_unknown(elements: &[(Tag, VR, String)]) -> Vec<u8> {
    let header = |tag: Tag, octets: usize| {
        let length = u32::try_from(octets).unwrap_or(u32::MAX);
        [&tag.group().to_le_bytes()[..], &tag.element().to_le_bytes(), &length.to_le_bytes()].concat()
    };
    let element = |(tag, _, token): &(Tag, VR, String)| {
        [header(*tag, token.len()), token.clone().into_bytes()].concat()
    };
    let elements: Vec<u8> = elements.iter().flat_map(element).collect();
    [header(Tag(0xFFFE, 0xE000), elements.len()), elements].concat()
}

/// The first value representation of a row, or that of the object.
fn vr_of(of_row: &str, of_object: VR) -> String {
    match of_row.get(..2) {
        Some(vr) => vr.to_owned(),
        None => of_object.to_string().to_owned(),
    }
}
