//! What is refused because nobody knows whether there is text in its pixels, or what its octets are.

use super::*;

#[test]
fn the_rules_decide_and_what_they_leave_open_is_refused() {
    let knee = |model, modality, said| Image { model, modality, said, ..GREY };
    for (image, expected) in [
        (knee("NOTHING", "US", "NO"), None),
        (knee("NOTHING", "US", ""), None),
        (knee("NOTHING", "US", "YES"), Some("burned-in-annotation")),
        (knee("DOUBT", "MR", "NO"), Some("pixels-not-cleaned")),
        (knee("UNKNOWN", "US", "NO"), Some("pixels-not-cleaned")),
        (knee("UNKNOWN", "MR", "NO"), None),
        (knee("UNKNOWN", "MR", ""), Some("pixels-not-cleaned")),
        (knee("UNKNOWN", "MR", "PERHAPS"), Some("burned-in-annotation")),
        (knee("UNKNOWN", "MR", "YES\\NO"), Some("burned-in-annotation")),
        (knee("UNKNOWN", "MR", "YES"), Some("burned-in-annotation")),
        (knee("ELSEWHERE", "US", "YES"), Some("pixels-not-maskable")),
    ] {
        let pixels = image.noise();
        let output = deidentify_as(&clean(), &image.object(&pixels, "OB", EXPLICIT));
        assert_eq!(output.as_ref().err().map(|refusal| refusal.code), expected, "{image:?}");
        if let Ok(output) = output {
            assert_eq!(pixels_of(&output, pixels.len()), pixels);
            assert_eq!(text(&open(&output), 0x0028, 0x0301), "NO");
        }
    }
}

#[test]
fn without_the_option_nothing_is_masked_or_claimed() {
    let image = Image { said: "", modality: "MR", ..GREY };
    let pixels = image.noise();
    let output = deidentify_as(&Config::default(), &image.object(&pixels, "OB", EXPLICIT)).unwrap();
    assert_eq!(pixels_of(&output, pixels.len()), pixels);
    assert!(!has(&open(&output), 0x0028, 0x0301));
    let burned = GREY.object(&pixels, "OB", EXPLICIT);
    let pass = Config { burned_in_annotation: BurnedInAnnotation::Pass, ..Config::default() };
    for said in ["YES", "yes", "YES\\NO", "Y", "1", "TRUE"] {
        let image = Image { said, ..image }.object(&pixels, "OB", EXPLICIT);
        assert_eq!(refusal(&Config::default(), &image), "burned-in-annotation", "{said}");
    }
    // An ultrasound machine that says nothing is doubted, one that says `NO` is not.
    for (modality, sop_class) in [("US", SOP_CLASS), ("OT", SOP_CLASS), ("MR", "1.2.840.10008.5.1.4.1.1.7")] {
        let doubted = |said| {
            let object = Image { said, modality, ..GREY }.object(&pixels, "OB", EXPLICIT);
            deidentify_as(&Config::default(), &of_class(&object, sop_class)).err().map(|refusal| refusal.code)
        };
        assert_eq!(doubted(""), Some("burned-in-annotation"), "{modality} {sop_class}");
        assert_eq!(doubted("NO"), None, "{modality} {sop_class}");
    }
    let doubted = Image { said: "", ..GREY }.object(&pixels, "OB", EXPLICIT);
    assert!(deidentify_as(&pass, &doubted).is_ok());
    let stated = Config { burned_in_annotation: BurnedInAnnotation::RefuseStated, ..Config::default() };
    assert!(deidentify_as(&stated, &doubted).is_ok());
    assert_eq!(refusal(&stated, &burned), "burned-in-annotation");
    assert_eq!(text(&open(&deidentify_as(&pass, &burned).unwrap()), 0x0028, 0x0301), "YES");
}

/// The object as one of another SOP class, of as many octets or fewer.
fn of_class(object: &[u8], sop_class: &str) -> Vec<u8> {
    let mut object = object.to_vec();
    let places: Vec<usize> =
        (0..object.len()).filter(|at| object[*at..].starts_with(SOP_CLASS.as_bytes())).collect();
    for at in places {
        let mut uid = sop_class.as_bytes().to_vec();
        uid.resize(SOP_CLASS.len(), 0);
        object[at..at + SOP_CLASS.len()].copy_from_slice(&uid);
    }
    object
}

#[test]
fn pixels_have_no_octets_behind_them_whatever_the_options() {
    for config in [Config::default(), clean()] {
        let image = Image { modality: "MR", model: "UNKNOWN", said: "NO", ..GREY };
        let mut pixels = image.noise();
        assert!(deidentify_as(&config, &image.object(&pixels, "OB", EXPLICIT)).is_ok());
        pixels.extend_from_slice(b"PATIENT DOE^JANE");
        assert_eq!(refusal(&config, &image.object(&pixels, "OB", EXPLICIT)), "wrong-length");
    }
}

#[test]
fn pixels_of_another_length_are_refused() {
    let pixels = GREY.noise();
    assert_eq!(pixels.len(), 106);
    for length in [0, 104, 105, 106, 107, 108] {
        let mut pixels = pixels.clone();
        pixels.resize(length, 7);
        let output = deidentify_as(&clean(), &GREY.object(&pixels, "OB", EXPLICIT));
        let expected = (!matches!(length, 105 | 106)).then_some("wrong-length");
        assert_eq!(output.err().map(|refusal| refusal.code), expected, "{length}");
    }
    let cut = GREY.object(&pixels, "OB", EXPLICIT);
    assert_eq!(refusal(&clean(), &cut[..cut.len() - 1]), "truncated");
    let many =
        Image { modality: "MR", frames: u32::MAX, rows: u16::MAX, columns: u16::MAX, bits: 32, ..GREY };
    assert_eq!(refusal(&clean(), &many.object(&pixels, "OW", EXPLICIT)), "wrong-length");
}
