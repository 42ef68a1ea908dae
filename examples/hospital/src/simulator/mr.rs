//! MR Image Storage instances (DICOM PS3.3 A.4) of the numerical head, one for each slice.

use super::calendar;
use super::case::{Case, INSTITUTION, MACHINE};
use super::dicom::{self, DataSet, Value};
use super::phantom;
use super::random::Random;

/// MR Image Storage (PS3.4 B.5).
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.4";
/// Millimetres that the image covers in each direction.
const FIELD_OF_VIEW_MM: f64 = 230.0;
/// Millimetres from one slice to the next.
const SLICE_SPACING_MM: f64 = 6.0;

/// One file.
#[derive(Debug, Clone)]
pub struct Instance {
    /// (0008,0018).
    pub sop_instance_uid: String,
    /// (0020,0013).
    pub number: u16,
    /// The whole file.
    pub octets: Vec<u8>,
}

/// An axial series of `slices` images of `matrix` by `matrix` pixels. 256 gives files of about 130 KiB; 512 gives files of
/// about 514 KiB, which are over the limit of what travels inside a record.
#[must_use]
pub fn series(case: &Case, slices: u16, matrix: u16) -> Vec<Instance> {
    let mut random = case.random.fork(u64::from(matrix));
    (1..=slices)
        .map(|number| instance(case, Slice { number, of: slices, matrix }, "NO", &mut random))
        .collect()
}

/// One image that says that identifying text is burned into its pixels: (0028,0301) is `YES`.
#[must_use]
pub fn burned_in(case: &Case, matrix: u16) -> Instance {
    let mut random = case.random.fork(u64::MAX);
    instance(case, Slice { number: 1, of: 1, matrix }, "YES", &mut random)
}

/// Which image of a series.
#[derive(Clone, Copy)]
struct Slice {
    number: u16,
    of: u16,
    matrix: u16,
}

impl Slice {
    /// Millimetres from the middle of the head.
    fn offset_mm(self) -> f64 {
        (f64::from(self.number) - f64::from(self.of + 1) / 2.0) * SLICE_SPACING_MM
    }
}

fn instance(case: &Case, slice: Slice, burned_in_annotation: &str, random: &mut Random) -> Instance {
    let sop_instance_uid = random.uid();
    let pixels = phantom::slice(slice.matrix, slice.offset_mm() / (FIELD_OF_VIEW_MM / 2.0), random);
    let mut set = DataSet::new();
    set.uid((0x0008, 0x0016), SOP_CLASS).uid((0x0008, 0x0018), sop_instance_uid.as_str());
    patient(&mut set, case);
    study(&mut set, case);
    equipment(&mut set);
    acquisition(&mut set);
    plane(&mut set, case, slice);
    image_pixels(&mut set, slice.matrix, pixels);
    // The head is of ellipsoids: it has no face.
    set.text((0x0028, 0x0301), "CS", burned_in_annotation).text((0x0028, 0x0302), "CS", "NO");
    private(&mut set, case);
    let octets = dicom::file(SOP_CLASS, &sop_instance_uid, &set);
    Instance { sop_instance_uid, number: slice.number, octets }
}

/// Patient and Patient Study modules (PS3.3 C.7.1.1, C.7.2.2).
fn patient(set: &mut DataSet, case: &Case) {
    let patient = &case.patient;
    set.text((0x0008, 0x0005), "CS", "ISO_IR 192")
        .text((0x0010, 0x0010), "PN", format!("{}^{}", patient.family, patient.given))
        .text((0x0010, 0x0020), "LO", patient.record_number.as_str())
        .text((0x0010, 0x0021), "LO", INSTITUTION)
        .text((0x0010, 0x0030), "DA", patient.birth_date.as_str())
        .text((0x0010, 0x0040), "CS", patient.sex.letter())
        .text((0x0010, 0x1010), "AS", format!("{:03}Y", patient.age_years))
        .text((0x0010, 0x1030), "DS", patient.weight_kg.to_string())
        .text((0x0010, 0x1040), "LO", patient.street.as_str())
        .text((0x0010, 0x2154), "SH", patient.telephone.as_str());
}

/// General Study and General Series modules (PS3.3 C.7.2.1, C.7.3.1), with the order nested as it comes from a work list.
fn study(set: &mut DataSet, case: &Case) {
    let (date, time) = (calendar::date(case.time), calendar::time(case.time));
    let mut request = DataSet::new();
    request
        .text((0x0040, 0x1001), "SH", case.visit_number.as_str())
        .text((0x0040, 0x0007), "LO", format!("MR head for {}", case.patient.family))
        .text((0x0040, 0x0009), "SH", case.accession_number.as_str());
    for tag in [(0x0008, 0x0020), (0x0008, 0x0021), (0x0008, 0x0022), (0x0008, 0x0023)] {
        set.text(tag, "DA", date.as_str());
    }
    for tag in [(0x0008, 0x0030), (0x0008, 0x0031), (0x0008, 0x0032), (0x0008, 0x0033)] {
        set.text(tag, "TM", time.as_str());
    }
    set.uid((0x0020, 0x000D), case.study_uid.as_str())
        .uid((0x0020, 0x000E), case.series_uid.as_str())
        .text((0x0008, 0x0050), "SH", case.accession_number.as_str())
        .text((0x0008, 0x0060), "CS", "MR")
        .text((0x0008, 0x0090), "PN", format!("{}^{}", case.referrer.0, case.referrer.1))
        .text((0x0008, 0x1030), "LO", "MR HEAD WITHOUT CONTRAST")
        .text((0x0008, 0x103E), "LO", "T1 SE AXIAL")
        .text((0x0018, 0x0015), "CS", "HEAD")
        .text((0x0018, 0x1030), "LO", "HEAD ROUTINE")
        .text((0x0018, 0x5100), "CS", "HFS")
        .text((0x0020, 0x0010), "SH", case.visit_number.as_str())
        .text((0x0020, 0x0011), "IS", "1")
        .set((0x0040, 0x0275), Value::Sequence(vec![request]));
}

/// General Equipment module (PS3.3 C.7.5.1).
fn equipment(set: &mut DataSet) {
    set.text((0x0008, 0x0070), "LO", "Hilum Simulated Imaging")
        .text((0x0008, 0x0080), "LO", INSTITUTION)
        .text((0x0008, 0x1010), "SH", MACHINE)
        .text((0x0008, 0x1090), "LO", "Phantom 1.5")
        .text((0x0018, 0x1000), "LO", "SN-0001-PHANTOM")
        .text((0x0018, 0x1020), "LO", env!("CARGO_PKG_VERSION"));
}

/// MR Image module (PS3.3 C.8.3.1): a T1-weighted spin echo.
fn acquisition(set: &mut DataSet) {
    set.text((0x0008, 0x0008), "CS", "ORIGINAL\\PRIMARY\\OTHER")
        .text((0x0018, 0x0020), "CS", "SE")
        .text((0x0018, 0x0021), "CS", "SK")
        .text((0x0018, 0x0022), "CS", "")
        .text((0x0018, 0x0023), "CS", "2D")
        .text((0x0018, 0x0080), "DS", "500")
        .text((0x0018, 0x0081), "DS", "14")
        .text((0x0018, 0x0087), "DS", "1.5")
        .text((0x0018, 0x0091), "IS", "1");
}

/// Frame of Reference, General Image and Image Plane modules (PS3.3 C.7.4.1, C.7.6.1, C.7.6.2).
fn plane(set: &mut DataSet, case: &Case, slice: Slice) {
    let Slice { number, matrix, .. } = slice;
    let offset_mm = slice.offset_mm();
    let spacing = FIELD_OF_VIEW_MM / f64::from(matrix);
    let corner = spacing / 2.0 - FIELD_OF_VIEW_MM / 2.0;
    set.uid((0x0020, 0x0052), case.frame_of_reference_uid.as_str())
        .text((0x0020, 0x1040), "LO", "")
        .text((0x0020, 0x0012), "IS", "1")
        .text((0x0020, 0x0013), "IS", number.to_string())
        .text((0x0018, 0x0050), "DS", "5")
        .text((0x0018, 0x0088), "DS", SLICE_SPACING_MM.to_string())
        .text((0x0020, 0x0032), "DS", format!("{corner:.4}\\{corner:.4}\\{offset_mm:.4}"))
        .text((0x0020, 0x0037), "DS", "1\\0\\0\\0\\1\\0")
        .text((0x0020, 0x1041), "DS", format!("{offset_mm:.4}"))
        .text((0x0028, 0x0030), "DS", format!("{spacing:.6}\\{spacing:.6}"));
}

/// Image Pixel module (PS3.3 C.7.6.3): 12 bits stored in 16.
fn image_pixels(set: &mut DataSet, matrix: u16, pixels: Vec<u16>) {
    set.unsigned16((0x0028, 0x0002), 1)
        .text((0x0028, 0x0004), "CS", "MONOCHROME2")
        .unsigned16((0x0028, 0x0010), matrix)
        .unsigned16((0x0028, 0x0011), matrix)
        .unsigned16((0x0028, 0x0100), 16)
        .unsigned16((0x0028, 0x0101), 12)
        .unsigned16((0x0028, 0x0102), 11)
        .unsigned16((0x0028, 0x0103), 0)
        .text((0x0028, 0x1050), "DS", "1000")
        .text((0x0028, 0x1051), "DS", "2000")
        .set((0x7FE0, 0x0010), Value::Words(pixels));
}

/// A private element that names the patient, as real machines have them (PS3.5 section 7.8).
fn private(set: &mut DataSet, case: &Case) {
    set.text((0x0019, 0x0010), "LO", "HILUM SIMULATOR 01").text(
        (0x0019, 0x1001),
        "LO",
        format!("{} {}", case.patient.family, case.patient.record_number),
    );
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use dicom_object::from_reader;
    use hilum_core::Timestamp;
    use hilum_core::limits::INLINE_BODY_OCTETS_MAX;

    use super::*;

    fn case() -> Case {
        Case::new(11, 0, Timestamp(1_790_000_000_000))
    }

    #[test]
    fn an_independent_reader_finds_what_was_written() {
        let case = case();
        let made = series(&case, 3, 64);
        assert_eq!(made.len(), 3);
        for instance in &made {
            let read = from_reader(Cursor::new(&instance.octets)).unwrap();
            assert_eq!(read.meta().media_storage_sop_class_uid(), SOP_CLASS);
            let text = |tag| read.element(tag).unwrap().to_str().unwrap().into_owned();
            assert_eq!(text(dicom_object::Tag(0x0010, 0x0020)), case.patient.record_number);
            assert_eq!(text(dicom_object::Tag(0x0020, 0x000D)), case.study_uid);
            assert_eq!(text(dicom_object::Tag(0x0020, 0x0013)), instance.number.to_string());
            let pixels = read.element(dicom_object::Tag(0x7FE0, 0x0010)).unwrap();
            assert_eq!(pixels.to_bytes().unwrap().len(), 64 * 64 * 2);
            let request = read.element(dicom_object::Tag(0x0040, 0x0275)).unwrap();
            assert_eq!(request.items().unwrap().len(), 1);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_octets() {
        let octets =
            || series(&case(), 2, 64).into_iter().map(|instance| instance.octets).collect::<Vec<_>>();
        assert_eq!(octets(), octets());
    }

    #[test]
    fn a_fine_matrix_is_over_the_inline_limit_and_a_coarse_one_is_not() {
        assert!(series(&case(), 1, 512)[0].octets.len() > INLINE_BODY_OCTETS_MAX);
        assert!(series(&case(), 1, 256)[0].octets.len() <= INLINE_BODY_OCTETS_MAX);
    }
}
