//! The judge is held against plugins of which it is known what they do, and the bundled one is scored under configurations that differ.

use hilum_server::score::Count;
use serde_json::json;
use tempfile::TempDir;

use super::super::trial::outcome::Made;
use super::judge::Action;
use super::*;

/// What is built in, planted.
fn planted() -> (TempDir, Folder, Table) {
    let root = tempfile::tempdir().unwrap();
    let table = Table::read(None).unwrap();
    let mut maker = Maker::new(root.path(), &table, 1, "").unwrap();
    maker.built_in("").unwrap();
    let folder = maker.finish().unwrap();
    (root, folder, table)
}

/// What a plugin gets that makes this of every file.
fn scored(config: &Value, run: Run<'_>) -> Report {
    let (_root, folder, table) = planted();
    let tally = judge_all(&folder, &Stage::new(config, &table), run).unwrap();
    let (_, plugin) = super::super::load(DEIDENTIFY).unwrap();
    tally.report(&plugin, hilum_core::Digest::of(b""), &table, 1).unwrap()
}

fn count(report: &Report, action: Action) -> Count {
    report.actions[action.name()]
}

/// The bundled plugin under a configuration.
fn real(config: &Value) -> Report {
    let (sandbox, plugin) = super::super::load(DEIDENTIFY).unwrap();
    let context = ChainContext {
        flow: "local".parse().unwrap(),
        class: "local".into(),
        subscription: None,
        recipient: None,
        purpose: None,
        break_glass: None,
    };
    let grants = all_grants(&plugin, config);
    let (stage, limits, config) = ("clean".parse().unwrap(), Limits::default(), config.clone());
    let setting = Setting {
        context,
        stage,
        config,
        grants,
        limits,
        in_order: true,
        observed: std::collections::BTreeMap::new(),
    };
    let root = tempfile::tempdir().unwrap();
    Scoring::new(&sandbox, &plugin, setting).unwrap().score(root.path(), None, None).unwrap()
}

#[test]
fn a_plugin_that_lets_everything_pass_removes_nothing() {
    let report = scored(&json!({}), &mut |_, _| Ok(Outcome::of(Kind::Passed)));
    assert_eq!(report.removals.passed, 0, "of {}", report.removals.tried);
    assert!(report.removals.tried > 10_000 && !report.reaches(Millionths(0)));
    for action in [Action::TextRetained, Action::TagRetained, Action::PixelsRetained] {
        assert!(count(&report, action).is_whole(), "{action:?}");
    }
    assert_eq!(count(&report, Action::UidConsistent).passed, count(&report, Action::UidConsistent).tried);
    assert_eq!(count(&report, Action::PatidConsistent).passed, 0);
    assert_eq!(count(&report, Action::PixelsHidden).passed, 0);
    for (letter, count) in &report.identifiers {
        assert!(count.tried > 0, "nothing of {letter} is planted");
    }
}

#[test]
fn a_plugin_that_leaves_nothing_or_refuses_all_keeps_nothing() {
    let empty = |file: &Planted, _: &[u8]| {
        let mut made = Made::new(file.format.content_type().into(), None, Vec::new(), Some(Vec::new()));
        made.time = Some(0);
        Ok(Outcome { outputs: vec![made], ..Outcome::of(Kind::Replaced) })
    };
    let refused =
        |_: &Planted, _: &[u8]| Ok(Outcome { code: Some("no".into()), ..Outcome::of(Kind::Refused) });
    for (mut run, hidden) in
        [(Box::new(empty) as Box<dyn FnMut(&Planted, &[u8]) -> _>, false), (Box::new(refused), true)]
    {
        let report = scored(&json!({}), &mut *run);
        for action in Action::ALL {
            let Count { tried, passed } = count(&report, action);
            assert!(tried > 0, "{action:?}");
            let expected = match action {
                // Pixels that are not there hide nothing that anybody could look at.
                Action::PixelsHidden => hidden,
                action => action.is_removal(),
            };
            assert_eq!(passed, if expected { tried } else { 0 }, "{action:?}");
        }
        assert!(!report.reaches(Millionths(900_000)));
    }
}

#[test]
fn a_single_identifier_that_is_left_is_found_wherever_it_is() {
    let (_root, folder, table) = planted();
    let of = |format| folder.key.files.iter().find(|file| file.format == format).unwrap();
    for format in [Format::Dicom, Format::Hl7, Format::X12, Format::Fhir, Format::Telemetry] {
        let file = of(format);
        let mark = file.marks.iter().find(|mark| mark.kind == key::Kind::Text).unwrap();
        let config = json!({});
        let stage = Stage::new(&config, &table);
        let leak = format!("somewhere {} else", mark.value.to_lowercase());
        let output = Document::read(format, leak.as_bytes(), None, &[]);
        let planted = Document::read(format, b"", None, &[]);
        let seen = Seen::WentOn { output: &output, planted: &planted };
        let expectation = stage.expects(format, mark)[0];
        let verdict = Judge::default().judge(file, mark, expectation, &seen).unwrap();
        assert!(!verdict.passed, "{format:?}");
    }
}

#[test]
fn planted_files_are_used_again_and_are_what_was_planted() {
    let (root, folder, _table) = planted();
    let again = Folder::open(root.path(), Some(1), None, "").unwrap().unwrap();
    assert_eq!(again.key.files.len(), folder.key.files.len());
    assert!(Folder::open(root.path(), Some(2), None, "").is_err());
    assert!(Folder::open(root.path(), None, Some(root.path()), "").is_err());
    assert!(Folder::open(root.path(), None, None, "other rules").is_err());
    let first = &folder.key.files[0];
    fs::write(root.path().join("planted").join(&first.file), "changed").unwrap();
    assert!(again.read(first).unwrap_err().to_string().contains("is not what was planted"));
}

#[test]
fn what_is_deflated_is_planted_into_and_found_again() {
    let (_root, folder, table) = planted();
    let is_deflated = |octets: &[u8]| dicom::deflated::inflated(octets).is_some();
    let read = |file: &Planted| folder.read(file).unwrap();
    let file = folder.key.files.iter().find(|file| is_deflated(&read(file))).unwrap();
    let octets = read(file);
    let mark = file.marks.iter().find(|mark| mark.path == "(0010,0010)").unwrap();
    assert!(!octets.windows(mark.value.len()).any(|window| window == mark.value.as_bytes()));
    // A plugin that passes it on is found out, by each of its marks.
    let output = Document::read(Format::Dicom, &octets, None, &[]);
    let (config, mut judge) = (json!({}), Judge::default());
    let stage = Stage::new(&config, &table);
    let (mut tried, mut passed) = (0, 0);
    for mark in file.marks.iter().filter(|mark| !mark.path.starts_with("head.")) {
        for expectation in stage.expects(Format::Dicom, mark) {
            let seen = Seen::WentOn { output: &output, planted: &output };
            let verdict = judge.judge(file, mark, expectation, &seen).unwrap();
            tried += usize::from(expectation.action.is_removal());
            passed += usize::from(expectation.action.is_removal() && verdict.passed);
        }
    }
    assert!(tried > 3000, "{tried}");
    assert_eq!(passed, 0);
    assert!(dicom::deflated::inflated(&octets[..octets.len() / 2]).is_none(), "half of it is none");
}

#[test]
fn all_is_planted_as_values_of_unknown_representation_too() {
    let (_root, folder, _table) = planted();
    for file in folder.key.files.iter().filter(|file| file.format == Format::Dicom && file.needs.is_none()) {
        let of = |prefix: &str| file.marks.iter().filter(|mark| mark.path.starts_with(prefix)).count();
        let stated = of("(0040,0260)[0].(");
        let unknown = of("(0040,0260)[1].(");
        if stated == 0 {
            continue;
        }
        let object = dicom::open(&folder.read(file).unwrap()).unwrap();
        let is_implicit = object.meta().transfer_syntax.trim_end_matches('\0') == "1.2.840.10008.1.2";
        assert!(if is_implicit { unknown == 0 } else { unknown > 800 }, "{}: {unknown}", file.file);
        let items = object.element_by_name("PerformedProtocolCodeSequence").unwrap().items().unwrap();
        let mut unknown = items.iter().skip(1).flatten();
        assert!(unknown.all(|element| element.vr() == dicom_core::VR::UN));
    }
}

/// Reports of the bundled plugin name each failure, so that it can be mended.
fn ensure_reached(report: &Report, config: &Value) {
    let failures: Vec<_> = report.failures.iter().take(40).collect();
    assert!(report.reaches(Millionths(999_000)), "{config}: {failures:#?}");
    assert_eq!(report.intervals.passed, report.intervals.tried, "{config}");
}

#[test]
fn the_bundled_plugin_reaches_the_bar_under_the_basic_profile() {
    let config = json!({});
    ensure_reached(&real(&config), &config);
}

#[test]
fn the_bundled_plugin_reaches_the_bar_under_options_and_keeps_intervals() {
    let shifting = json!({"options": ["retain-longitudinal-modified-dates", "clean-descriptors"], "message_dates": "shift"});
    let report = real(&shifting);
    ensure_reached(&report, &shifting);
    assert!(report.intervals.tried > 500, "{:?}", report.intervals);
    let retaining = json!({"options": ["retain-longitudinal-full-dates", "retain-uids", "retain-device-identity",
        "retain-patient-characteristics", "retain-institution-identity", "retain-safe-private", "clean-structured-content"]});
    ensure_reached(&real(&retaining), &retaining);
}

#[test]
fn masks_of_a_stages_rules_are_tried_with_text_under_them() {
    let rules = "# Hilum pixel rules\nmodality\tmanufacturer\tmodel\trows\tcolumns\taction\tnote\n\
                 US\tACME*\tECHO 5*\t256\t320\tmask 0,0,*,20 200,20,120,40\tthe banner\n";
    let config = json!({"options": ["clean-pixel-data"], "pixel_rules": rules});
    let report = real(&config);
    ensure_reached(&report, &config);
    // Two images, not compressed and in RLE, are masked and not refused: what is outside of the masks is there.
    let retained = count(&report, Action::PixelsRetained);
    assert_eq!((retained.tried, retained.passed), (7, 7));
    assert_eq!(count(&report, Action::PixelsHidden).tried, 8);
}
