//! The command line as scripts use it: exit codes, lines of JSON, messages on standard error.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Output;

use hilum_tests::{Broker, Hospital, hilum, hilum_reading};
use serde_json::Value;

use crate::support::says;

/// A port on which nobody listens (RFC 863, discard).
const NOBODY: &str = "127.0.0.1:9";

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// `hilum COMMAND --dir DIR --as IDENTITY --address ADDRESS ...`
fn acting<'a>(
    command: &'a str,
    dir: &'a Path,
    who: &'a str,
    address: &'a str,
    rest: &'a [&'a str],
) -> Vec<&'a OsStr> {
    let mut arguments: Vec<&OsStr> = vec![command.as_ref(), "--dir".as_ref(), dir.as_os_str()];
    arguments.extend(["--as", who, "--address", address].map(OsStr::new));
    arguments.extend(rest.iter().map(OsStr::new));
    arguments
}

#[test]
fn a_hospital_from_init_to_the_last_delivery() {
    let parent = tempfile::tempdir().unwrap();
    let made = parent.path().join("st-marys");
    let init = hilum(["init".as_ref(), made.as_os_str(), "--json".as_ref()]);
    assert_eq!(code(&init), 0, "{}", said(&init));
    let [report] = &json_lines(&init)[..] else { panic!("not one line") };
    assert_eq!(report["plugins_missing"].as_array().map(Vec::len), Some(0));
    assert!(report["made"].as_array().unwrap().iter().any(|made| made["path"] == "hilum.toml"), "{report}");
    let check = hilum(["check".as_ref(), made.as_os_str(), "--json".as_ref()]);
    assert_eq!(code(&check), 0, "{}", said(&check));
    let [summary] = &json_lines(&check)[..] else { panic!("not one line") };
    assert_eq!((&summary["ok"], &summary["hospital"]), (&true.into(), &report["hospital"]));
    assert!(summary["flows"].as_array().unwrap().len() >= 4, "{summary}");

    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    let (dir, address) = (hospital.path(), broker.address());
    let (small, large) = (parent.path().join("small"), parent.path().join("large"));
    std::fs::write(&small, "five!").unwrap();
    std::fs::write(&large, vec![7; 700_000]).unwrap();
    let files = [small.to_str().unwrap(), large.to_str().unwrap()];
    let rest = ["--json", "--content-type", "text/plain", "--record-key", "k", "--attribute", "unit=K"];
    let rest = [&rest[..], &["records"], &files].concat();
    let published = hilum(acting("publish", dir, "scanner", address, &rest));
    assert_eq!(code(&published), 0, "{}", said(&published));
    let lines = json_lines(&published);
    let sizes: Vec<_> = lines.iter().map(|line| (line["octets"].as_u64(), line["offset"].as_u64())).collect();
    assert_eq!(sizes, [(Some(5), Some(0)), (Some(700_000), Some(1))]);

    let out = parent.path().join("out");
    let rest = ["--json", "--count", "2", "--wait", "20", "--out", out.to_str().unwrap(), "records", "all"];
    let read = hilum(acting("subscribe", dir, "reader", address, &rest));
    assert_eq!(code(&read), 0, "{}", said(&read));
    let lines = json_lines(&read);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["key"], &lines[0]["attributes"]["unit"]), (&"k".into(), &"K".into()));
    for (line, file) in lines.iter().zip(files) {
        let taken = std::fs::read(line["file"].as_str().unwrap()).unwrap();
        assert!(taken == std::fs::read(file).unwrap(), "{line}");
    }
    let again =
        hilum(acting("subscribe", dir, "reader", address, &["--json", "--wait", "1", "records", "all"]));
    assert_eq!((code(&again), json_lines(&again).len()), (0, 0), "both were acked");
}

#[test]
fn each_failure_has_its_exit_code_and_says_what_to_do() {
    let hospital = Hospital::plain();
    let broker = Broker::start(hospital.path());
    let (dir, address) = (hospital.path(), broker.address());
    let publish = |who, address, flow| {
        hilum(acting("publish", dir, who, address, &["--content-type", "text/plain", flow, "-"]))
    };
    let denied = publish("reader", address, "records");
    assert_eq!(code(&denied), 3, "{}", said(&denied));
    says(&said(&denied), &["error: cannot publish to flow `records`", "denied"]);
    let unknown = publish("scanner", address, "nowhere");
    assert_eq!(code(&unknown), 3, "{}", said(&unknown));
    let alone = publish("scanner", NOBODY, "records");
    assert_eq!(code(&alone), 4, "{}", said(&alone));
    says(&said(&alone), &["error: no answer from a broker at 127.0.0.1:9", "help: ", "hilum serve"]);
    let not_read = hilum(acting("subscribe", dir, "scanner", address, &["--wait", "1", "records", "all"]));
    assert_eq!(code(&not_read), 3, "{}", said(&not_read));
    let nobody = publish("nobody", address, "records");
    assert_eq!(code(&nobody), 1, "{}", said(&nobody));
    says(&said(&nobody), &["identities/nobody/cert.pem"]);
    for usage in [&["publish"][..], &["subscribe", "--count", "many", "a", "b"], &["flow-rate"], &[]] {
        assert_eq!(code(&hilum(usage)), 2, "{usage:?}");
    }
}

#[test]
fn check_names_file_line_and_key_of_everything_that_is_wrong() {
    let hospital = Hospital::plain();
    let path = hospital.file("flows/0.toml");
    let flow = std::fs::read_to_string(&path).unwrap();
    let wrong = flow.replace("zone =", "zune =").replace("stakeholder = \"ward\"", "stakeholder = \"wards\"");
    std::fs::write(&path, &wrong).unwrap();
    let check = hilum(["check".as_ref(), hospital.path().as_os_str(), "--json".as_ref()]);
    assert_eq!(code(&check), 1, "{}", said(&check));
    let [found] = &json_lines(&check)[..] else { panic!("not one line") };
    let line_of = |text: &str| 1 + wrong.lines().position(|line| line.starts_with(text)).unwrap();
    let problem = |key: &str, line: usize| {
        let problems = found["problems"].as_array().unwrap();
        let is_it = |problem: &&Value| {
            problem["file"] == "flows/0.toml" && problem["line"] == line && problem["key"] == key
        };
        problems.iter().find(is_it).unwrap_or_else(|| panic!("{key} in line {line}: {found}"))
    };
    says(problem("zune", line_of("zune")).to_string().as_str(), &["zone"]);
    says(
        problem("subscription[0].stakeholder", line_of("stakeholder = \"wards\"")).to_string().as_str(),
        &["ward"],
    );
    let check = hilum(["check".as_ref(), hospital.path().as_os_str()]);
    assert_eq!(code(&check), 1);
    says(&said(&check), &[&format!("flows/0.toml:{}:", line_of("zune")), "zune"]);
}

#[test]
fn a_hospitals_own_table_is_checked_by_line_and_column() {
    let parent = tempfile::tempdir().unwrap();
    let made = parent.path().join("st-marys");
    assert_eq!(code(&hilum(["init".as_ref(), made.as_os_str()])), 0);
    let flow = made.join("flows/imaging.toml");
    let text = std::fs::read_to_string(&flow).unwrap();
    let config = "config = { key = \"research\" }\n";
    let named = format!("{config}config_files = {{ table = \"tables/own.tsv\" }}\n");
    assert!(text.contains(config));
    std::fs::write(&flow, text.replace(config, &named)).unwrap();
    let table = "../plugins/deidentify/data/ps3.15-2026c-table-e.1-1.tsv";
    let table = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(table)).unwrap();
    std::fs::create_dir(made.join("tables")).unwrap();
    let check = |table: &str| {
        std::fs::write(made.join("tables/own.tsv"), table).unwrap();
        hilum(["check".as_ref(), made.as_os_str()])
    };
    let wrong = check(&table.replacen("\tX\t", "\tY\t", 1));
    assert_eq!(code(&wrong), 1, "{}", said(&wrong));
    says(&said(&wrong), &["flows/imaging.toml", "/table", "line 3, column 39: an action is X, Z"]);
    let right = check(&table.replacen("2026c", "2027a", 1));
    assert_eq!(code(&right), 0, "{}", said(&right));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = hilum(["completions", shell]);
        assert_eq!(code(&completions), 0, "{}", said(&completions));
        says(&String::from_utf8(completions.stdout).unwrap(), &["subscribe", "traceparent"]);
    }
    assert_eq!(code(&hilum(["completions", "abacus"])), 2);
}

#[test]
fn a_plugin_is_scored_on_what_is_built_in_and_the_report_has_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let (planted, file) = (folder.path().join("planted"), folder.path().join("report.json"));
    let (planted, file) = (planted.to_str().unwrap(), file.to_str().unwrap());
    let score = |plugin: &str, more: &[&str]| {
        let start = ["plugin", "score", plugin, "--planted", planted];
        hilum(start.into_iter().chain(more.iter().copied()))
    };
    let scored = score("deidentify", &["--report", file, "--require", "99.9"]);
    assert_eq!(code(&scored), 0, "{}", said(&scored));
    let text = String::from_utf8(scored.stdout).unwrap();
    says(&text, &["by action of MIDI-B", "patid_consistent", "health plan numbers", "reached: all removals"]);
    let report = std::fs::read_to_string(file).unwrap();
    assert!(!report.contains("ZQ") && report.contains("hilum-score-1"), "{report}");

    // A second time it is what was planted the first time; a file that was changed is none of it.
    let again = score("deidentify", &["--json"]);
    assert_eq!(code(&again), 0, "{}", said(&again));
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    let first: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(again["actions"], first["actions"]);
    says(
        &said(&score("deidentify", &["--seed", "9"])),
        &["is there already, planted with seed 1", "--planted"],
    );
    let other = score("encrypt", &[]);
    assert_eq!(code(&other), 1);
    says(&said(&other), &["there is no score for `encrypt`"]);
}

#[test]
fn a_plugin_runs_on_one_body_without_a_broker() {
    let message =
        b"MSH|^~\\&|RIS|C|H|C|20260901083000||ADT^A01^ADT_A01|1|P|2.5.1\rPID|1||77^^^C^MR||DOE^ANN\r";
    let run = ["plugin", "run", "deidentify", "--content-type", "x-application/hl7-v2+er7"];
    let replaced = hilum_reading(message, run);
    assert_eq!(code(&replaced), 0, "{}", said(&replaced));
    let cleaned = String::from_utf8(replaced.stdout).unwrap();
    assert!(cleaned.starts_with("MSH|") && !cleaned.contains("DOE"), "{cleaned}");
    let refused = hilum_reading(b"MSH|^~\\&|RIS\rNOT A SEGMENT", run);
    assert_eq!(code(&refused), 3, "{}", said(&refused));
    assert_eq!(refused.stdout, b"", "nothing goes on");
    let no_plugin = hilum_reading(message, ["plugin", "run", "nonesuch", "--content-type", "text/plain"]);
    assert_eq!(code(&no_plugin), 1, "{}", said(&no_plugin));
}
