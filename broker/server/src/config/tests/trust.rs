//! Mistakes in `[trust]`, and what is meant where it says little.

use hilum_sandbox::trust::{EndOfSupport, Unsigned};

use super::*;

/// The hospital with this `[trust]`.
fn with(trust: &str) -> Result<Hospital, Problems> {
    let mut files = hospital();
    files.entry("hilum.toml").or_default().push_str(&format!("\n{trust}\n"));
    checked(&files)
}

fn said(trust: &str) -> String {
    with(trust).unwrap_err().to_string()
}

const KEYS: &str = "[[trust.keys]]\nname = \"a\"\nfile = \"trust/a.pub\"\n\
                    [[trust.keys]]\nname = \"b\"\nfile = \"trust/b.pub\"\nnot_after = \"2030-12-31\"\n";

#[test]
fn where_nothing_is_said_the_hospitals_own_key_counts_and_unsigned_is_refused() {
    for trust in ["", "[trust]"] {
        let hospital = with(trust).unwrap();
        let Trust { keys, rules, unsigned, end_of_support, .. } = hospital.trust;
        assert_eq!(keys[0].path, hospital.directory.plugin_signing().public);
        assert_eq!(
            (rules.len(), &rules[0].any_of[..], rules[0].minimum),
            (1, &["hospital".to_owned()][..], 1)
        );
        assert_eq!((unsigned, end_of_support), (Unsigned::Refuse, EndOfSupport::Warn));
    }
}

#[test]
fn keys_without_rules_count_everywhere_and_rules_are_read_in_order() {
    let trust = with(KEYS).unwrap().trust;
    assert_eq!((trust.keys.len(), trust.rules.len()), (2, 1));
    assert_eq!(
        (&trust.rules[0].any_of[..], trust.rules[0].minimum),
        (&["a".to_owned(), "b".to_owned()][..], 1)
    );
    assert_eq!(trust.keys[1].not_after.unwrap().to_string(), "2030-12-31");
    let rules = "[[trust.rules]]\nworlds = [\"transform\"]\nzones = [\"clinical\"]\nall_of = [\"a\"]\nany_of = [\"b\"]\n\
                 [[trust.rules]]\nany_of = [\"a\", \"b\"]\nminimum = 2\n";
    let head = "[trust]\nend_of_support = \"refuse\"\ngrace = \"30d\"\nunsigned = \"allow\"\n";
    let trust = with(&format!("{head}{KEYS}{rules}")).unwrap().trust;
    assert_eq!(trust.rules.iter().map(|rule| rule.minimum).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        (trust.unsigned, trust.end_of_support),
        (Unsigned::Allow, EndOfSupport::Refuse { grace_days: 30 })
    );
}

#[test]
fn mistakes_are_told() {
    let rule = |lines: &str| format!("{KEYS}[[trust.rules]]\n{lines}\n");
    for (trust, words) in [
        ("[trust]\nunsigned = \"yes\"".to_owned(), "`allow`ed for development"),
        ("[trust]\nend_of_support = \"stop\"".to_owned(), "`warn` or is `refuse`d"),
        ("[trust]\ngrace = \"30d\"".to_owned(), "a grace is of use only"),
        ("[trust]\nend_of_support = \"refuse\"\ngrace = \"36h\"".to_owned(), "in whole days"),
        ("[trust]\nrevoked = [\"abc\"]".to_owned(), "this is not a SHA-256 digest"),
        ("[trust]\ntrusted = true".to_owned(), "there is no such key"),
        (
            "[[trust.keys]]\nname = \"a\"\nfile = \"/etc/a.pub\"".to_owned(),
            "is not a path within the hospital",
        ),
        (KEYS.replace("\"b\"", "\"a\""), "key `a` is there twice"),
        (KEYS.replace("2030-12-31", "soon"), "this is no date"),
        (rule("any_of = [\"c\"]"), "there is no key `c`"),
        (rule("any_of = [\"a\"]\nminimum = 2"), "more than the 1 keys"),
        (rule("any_of = [\"a\", \"a\"]\nminimum = 2"), "more than the 1 keys"),
        (rule("zones = [\"clinicel\"]\nany_of = [\"a\"]"), "did you mean `clinical`?"),
        (rule("worlds = [\"transforms\"]\nany_of = [\"a\"]"), "there is no world `transforms`"),
        (rule("worlds = [\"transform\"]"), "asks for nobody"),
        (
            rule("any_of = [\"a\"]\n[[trust.rules]]\nany_of = [\"b\"]"),
            "rule 0 is about everything that this one is about",
        ),
    ] {
        let said = said(&trust);
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
        assert!(said.contains("hilum.toml:") && said.contains("help: "), "{said}");
    }
}
