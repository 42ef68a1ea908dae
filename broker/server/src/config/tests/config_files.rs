//! Settings of plugins that are files of their own.

use super::*;

const STAGE: &str = r#"
[[subscription.egress]]
stage = "clean"
plugin = "deidentify"
grants = ["keys:research"]
config = { key = "research" }
config_files = { table = "flows/own.tsv" }
"#;

fn with(stage: &str, table: Option<&str>) -> Files {
    let mut files = hospital();
    files.insert("flows/imaging.toml", format!("{IMAGING}{stage}"));
    if let Some(table) = table {
        files.insert("flows/own.tsv", table.to_owned());
    }
    files
}

fn refused(stage: &str, table: Option<&str>, expected: &Expect) {
    expected.assert_eq(&checked(&with(stage, table)).unwrap_err().to_string());
}

#[test]
fn a_file_is_the_value_of_its_key() {
    let loaded = checked(&with(STAGE, Some("# PS3.15 2027a"))).unwrap();
    let flow = &loaded.flows[&FlowName::new("imaging").unwrap()];
    let stage = &flow.subscriptions[0].egress[0];
    assert_eq!(stage.config, serde_json::json!({"key": "research", "table": "# PS3.15 2027a"}));
    assert_eq!(stage.config_files[0].key, "table");
}

#[test]
fn another_content_is_another_configuration() {
    let [before, after] =
        ["# PS3.15 2027a", "# PS3.15 2027b"].map(|text| checked(&with(STAGE, Some(text))).unwrap());
    let changes = before.outline.changes(&after.outline);
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["flows.imaging.subscription.radiology.egress.clean.config_files.table.content"]);
    assert!(!changes[0].needs_restart());
    assert!(changes[0].is_under("flows.imaging.subscription.radiology.egress"));
}

#[test]
fn a_file_that_cannot_be_the_value_is_told_where_it_is_named() {
    refused(
        STAGE,
        None,
        &expect![[r#"
            error: flows/imaging.toml:20:26: `subscription[0].egress[0].config_files.table`: the file cannot be read: No such file or directory (os error 2)
            help: put the file there, in UTF-8, or name another one"#]],
    );
    for outside in ["/etc/hostname", "../own.tsv", "flows/../../own.tsv", ""] {
        let stage = STAGE.replace("flows/own.tsv", outside);
        refused(
            &stage,
            None,
            &expect![[r#"
                error: flows/imaging.toml:20:26: `subscription[0].egress[0].config_files.table`: a file in the hospital directory is needed here
                help: write its path from there on, e.g. `tables/ps3.15-2027a.tsv`"#]],
        );
    }
    refused(
        &STAGE.replace("table = \"flows", "key = \"flows"),
        Some("x"),
        &expect![[r#"
            error: flows/imaging.toml:20:24: `subscription[0].egress[0].config_files.key`: `config.key` has a value already
            help: leave one of the two out"#]],
    );
    refused(
        STAGE,
        Some(&"x".repeat(300_000)),
        &expect![[r#"
            error: flows/imaging.toml:20:26: `subscription[0].egress[0].config_files.table`: the file is larger than 262144 octets
            help: plugins take no longer texts: leave out what nobody reads"#]],
    );
}
