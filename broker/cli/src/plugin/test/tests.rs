//! Records go through the real sandbox: what is not expected is told, what is accepted holds.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::bundled;

/// A project around a bundled plugin, with one record.
struct Fixture {
    root: TempDir,
    project: Project,
    built: Built,
}

const MESSAGE: &str =
    "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\rPID|1||4711^^^H||Doe^John||19700101|M\r";

impl Fixture {
    fn new(plugin: &str, stage: &str, head: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, octets: &[u8]| fs::write(root.path().join(name), octets).unwrap();
        let project =
            format!("name = \"{plugin}\"\nworld = \"transform\"\nlanguage = \"rust\"\n[stage]\n{stage}\n");
        write(FILE, project.as_bytes());
        fs::create_dir(root.path().join("records")).unwrap();
        write("records/one.toml", head.as_bytes());
        write("records/one.body", MESSAGE.as_bytes());
        let (_, octets) = bundled::PLUGINS.iter().find(|(name, _)| *name == plugin).unwrap();
        write("plugin.wasm", octets);
        let project = Project::read(root.path()).unwrap();
        let built = build::load(&project, root.path().join("plugin.wasm")).unwrap();
        Self { root, project, built }
    }

    fn run(&self, accept: bool) -> Tested {
        let mut tested = test(&self.project, &self.built, &self.root.path().join("records"), accept).unwrap();
        assert_eq!(tested.len(), 1);
        tested.remove(0)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("records").join(name)
    }
}

const HEAD: &str = "content_type = \"x-application/hl7-v2+er7\"\nattributes = [[\"ward\", \"3\"]]\n";

#[test]
fn what_is_accepted_is_expected_and_another_outcome_is_told_field_by_field() {
    let fixture = Fixture::new(
        "deidentify",
        "grants = [\"keys:research\", \"log\"]\nconfig = { key = \"research\" }",
        HEAD,
    );
    assert!(matches!(fixture.run(false).verdict, Verdict::NothingExpected));
    assert!(matches!(fixture.run(true).verdict, Verdict::Accepted));
    // Pseudonyms follow from the key's name, so that they are the same in each run.
    assert!(matches!(fixture.run(false).verdict, Verdict::AsExpected));
    let body = fs::read_to_string(fixture.file("one.expected.body")).unwrap();
    assert!(!body.contains("Doe") && body.contains("PID|"), "{body}");
    fs::write(fixture.file("one.expected.body"), body.replace("|M", "|F")).unwrap();
    let tested = fixture.run(false);
    let Verdict::Unexpected(differences) = &tested.verdict else { panic!("{}", tested.word()) };
    assert_eq!(differences.len(), 1);
    assert!(differences[0].shown().contains("- PID-8 F\n    + PID-8 M"), "{}", differences[0].shown());
    assert!(!tested.is_good());
}

#[test]
fn what_is_sealed_is_compared_open() {
    let stage = "grants = [\"random\", \"recipient:app\", \"log\"]\nconfig = { recipients = [\"app\"] }";
    let fixture = Fixture::new("encrypt", stage, HEAD);
    assert!(matches!(fixture.run(true).verdict, Verdict::Accepted));
    assert!(matches!(fixture.run(false).verdict, Verdict::AsExpected));
    let expected = fs::read_to_string(fixture.file("one.expected.toml")).unwrap();
    assert!(expected.contains("sealed_to = [\"app\"]"), "{expected}");
}

#[test]
fn an_outcome_without_a_body_leaves_none_of_an_older_one() {
    let stage = "grants = [\"keys:research\", \"log\"]\nconfig = { key = \"research\" }";
    let fixture = Fixture::new("deidentify", stage, HEAD);
    fixture.run(true);
    fs::write(fixture.file("one.body"), "no message at all").unwrap();
    let tested = fixture.run(true);
    assert!(matches!(tested.verdict, Verdict::Accepted) && tested.outcome.code.is_some());
    assert!(!fixture.file("one.expected.body").exists());
    assert!(matches!(fixture.run(false).verdict, Verdict::AsExpected));
}

#[test]
fn a_component_of_another_world_is_not_the_projects() {
    let fixture = Fixture::new("deidentify", "", HEAD);
    let (_, access) = bundled::PLUGINS.iter().find(|(name, _)| *name == "access").unwrap();
    fs::write(fixture.root.path().join("access.wasm"), access).unwrap();
    let error = build::load(&fixture.project, fixture.root.path().join("access.wasm")).err().unwrap();
    assert!(error.to_string().contains("is of the world `authorize`"), "{error}");
}
