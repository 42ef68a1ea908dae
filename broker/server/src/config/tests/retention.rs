//! What `[retention]`, `[audit]` and `[quarantine]` may say of how long things are kept.

use std::time::Duration;

use hilum_core::retention::Policy;

use super::*;

/// What is said when a table is added to the imaging flow.
fn check_retention(table: &str, expected: Expect) {
    check_imaging("[[publish]]", &format!("[retention]\n{table}\n[[publish]]"), expected);
}

fn retention_of(table: &str) -> Policy {
    let mut files = hospital();
    let imaging = files.get_mut("flows/imaging.toml").unwrap();
    *imaging = imaging.replace("[[publish]]", &format!("{table}\n[[publish]]"));
    checked(&files).unwrap().flows[&FlowName::new("imaging").unwrap()].retention
}

#[test]
fn everything_is_kept_for_ever_unless_said_otherwise() {
    assert_eq!(retention_of(""), Policy::default());
    assert!(!Policy::default().is_limited() && Policy::default().until_read);
    let hospital = checked(&hospital()).unwrap();
    assert_eq!((hospital.audit_max_age, hospital.quarantine_max_age), (None, None));
}

#[test]
fn reads_what_is_said() {
    let all = "[retention]\nmax_age = \"30d\"\nmax_bytes = \"10GiB\"\nmax_records = 1_000_000\nuntil_read = false\ncompact = true\n";
    let expected = Policy {
        max_age: Some(Duration::from_secs(30 * 86_400)),
        max_octets: Some(10 << 30),
        max_records: Some(1_000_000),
        until_read: false,
        compact: true,
    };
    assert_eq!(retention_of(all), expected);
    let mut files = hospital();
    let main = files.get_mut("hilum.toml").unwrap();
    main.push_str(
        "\n[audit]\nmax_age = \"3650d\"\n\n[quarantine]\nmax_age = \"90d\"\nmax_bytes = \"1GiB\"\n",
    );
    let hospital = checked(&files).unwrap();
    assert_eq!(hospital.audit_max_age, Some(Duration::from_secs(3650 * 86_400)));
    assert_eq!(hospital.quarantine_max_age, Some(Duration::from_secs(90 * 86_400)));
}

#[test]
fn says_what_is_wrong_and_where() {
    check_retention(
        "max_age = \"30\"\nmax_bytes = \"10GB\"\nmax_records = 0\nuntil_read = \"yes\"",
        expect![[r#"
            error: flows/imaging.toml:7:11: `retention.max_age`: this is no duration: write a whole number and its unit, one of `ms`, `s`, `m`, `h` and `d`
            help: for example `max_age = "30d"`
            error: flows/imaging.toml:8:13: `retention.max_bytes`: this is no size: write a whole number and its unit, one of `KiB`, `MiB`, `GiB` and `TiB`, or octets without one
            help: for example `max_bytes = "10GiB"`
            error: flows/imaging.toml:9:15: `retention.max_records`: a whole number from 1 to 1152921504606846976 is needed here
            help: write a number in this range
            error: flows/imaging.toml:10:14: `retention.until_read`: yes or no is needed here, this is of type string
            help: write it as `true` or `false`"#]],
    );
    check_retention(
        "max_age = \"0s\"\nmax_bytes = \"0\"\nmax_record = 5",
        expect![[r#"
        error: flows/imaging.toml:7:11: `retention.max_age`: this would keep nothing: leave the key out to keep everything
        help: for example `max_age = "30d"`
        error: flows/imaging.toml:8:13: `retention.max_bytes`: this would keep nothing: leave the key out to keep everything
        help: for example `max_bytes = "10GiB"`
        error: flows/imaging.toml:9:1: `retention.max_record`: there is no such key
        help: did you mean `max_records`?"#]],
    );
    check_main(
        "[labels]",
        "[audit]\nmax_age = 30\n\n[quarantine]\nmax_age = \"soon\"\n\n[labels]",
        expect![[r#"
            error: hilum.toml:8:11: `audit.max_age`: a text is needed here, this is of type integer
            help: write it as `"..."`
            error: hilum.toml:11:11: `quarantine.max_age`: this is no duration: write a whole number and its unit, one of `ms`, `s`, `m`, `h` and `d`
            help: for example `max_age = "30d"`"#]],
    );
}
