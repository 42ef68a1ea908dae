//! The three worlds, well-behaved: what comes out, and the receipts of it.

use std::sync::Arc;

use hilum_core::chain::{StageOutcome, output_digest};
use hilum_core::originals::{Original, Pseudonym};
use hilum_core::record::Output;
use hilum_core::{Body, Digest, Timestamp};
use hilum_sandbox::{Failure, FailureKind, Grants, Limits, StageSpec};
use serde_json::json;

use crate::support::{Memory, bad, behaving, chain, inline, load, record, stage, text};

#[test]
fn an_empty_chain_lets_records_pass_with_a_receipt() {
    let chain = chain(vec![]);
    let ran = chain.run(vec![text("a")]).records.remove(0).unwrap();
    assert_eq!(ran.run.receipt.output, Digest::of(b"a"));
    assert!(ran.run.receipt.outcomes.is_empty());
}

#[test]
fn pass_and_annotate_keep_the_body() {
    let mut second = behaving("annotate");
    second.name = "second".parse().unwrap();
    let chain = chain(vec![behaving("pass"), second]);
    let ran = chain.run(vec![text("body")]).records.remove(0).unwrap().run;
    assert_eq!(ran.receipt.outcomes, [StageOutcome::Passed, StageOutcome::Annotated]);
    assert_eq!((ran.receipt.input, ran.receipt.output), (Digest::of(b"body"), Digest::of(b"body")));
    assert_eq!(ran.receipt.plan, chain.plan().digest());
    assert_eq!(ran.outputs[0].attributes[0].name, "seen");
    assert_eq!(ran.outputs[0].key.as_deref(), Some("study-1"));
}

#[test]
fn replace_and_split_are_in_the_receipt() {
    let ran = chain(vec![behaving("reverse")]).run(vec![text("abc")]).records.remove(0).unwrap().run;
    assert_eq!(inline(&ran.outputs[0].body), b"cba");
    assert_eq!((ran.receipt.outcomes[0], ran.receipt.output), (StageOutcome::Replaced, Digest::of(b"cba")));

    let mut reverse = behaving("reverse");
    reverse.name = "second".parse().unwrap();
    let ran = chain(vec![behaving("split"), reverse]).run(vec![text("abc")]).records.remove(0).unwrap().run;
    let bodies: Vec<&[u8]> = ran.outputs.iter().map(|output| inline(&output.body)).collect();
    assert_eq!(bodies, [b"eno", b"owt"]);
    assert_eq!(ran.receipt.outcomes, [StageOutcome::Split, StageOutcome::Replaced]);
    assert_eq!(ran.receipt.output, output_digest([Digest::of(b"eno"), Digest::of(b"owt")]));
}

#[test]
fn what_comes_out_is_the_same_without_receipts() {
    let mut reverse = behaving("reverse");
    reverse.name = "second".parse().unwrap();
    let outputs = chain(vec![behaving("split"), reverse]).outputs(vec![text("abc"), text("cba")]);
    let bodies = |made: &Result<Vec<_>, Failure>| -> Vec<Vec<u8>> {
        made.as_ref().unwrap().iter().map(|output: &Output| inline(&output.body).to_vec()).collect()
    };
    assert_eq!(outputs.iter().map(bodies).collect::<Vec<_>>(), [[b"eno", b"owt"], [b"eno", b"owt"]]);
    let refused = chain(vec![behaving("refuse")]).outputs(vec![text("abc")]);
    assert!(matches!(refused[..], [Err(Failure::Refused { .. })]));
}

#[test]
fn a_refusal_is_cut_and_cleaned() {
    let failure = chain(vec![behaving("refuse")]).run(vec![text("abc")]).records.remove(0).unwrap_err();
    let Failure::Refused { code, reason, .. } = &failure else { panic!("{failure}") };
    assert_eq!((code.len(), reason.len()), (64, 256));
    assert!(!reason.contains('\n'));
}

#[test]
fn a_transformer_sets_the_time_of_what_it_makes() {
    let retimed =
        |times: &str, then: &str| record(Body::Inline("abc".into()), &[("times", times), ("then", then)]);
    let chain = chain(vec![behaving("retime")]);
    let time = text("").head.time;
    let run = |inputs| chain.run(inputs).records;
    for (then, outcome, records) in [
        ("pass", StageOutcome::Annotated, 1),
        ("annotate", StageOutcome::Annotated, 1),
        ("replace", StageOutcome::Replaced, 1),
        ("split", StageOutcome::Split, 2),
    ] {
        let ran = run(vec![retimed("0=7", then)]).remove(0).unwrap().run;
        assert_eq!(ran.receipt.outcomes, [outcome], "{then}");
        assert_eq!(ran.outputs.len(), records);
        assert!(ran.outputs.iter().all(|output| output.time == Some(Timestamp(7))), "{then}");
        if then == "pass" {
            let kept = &ran.outputs[0];
            assert_eq!((kept.attributes.len(), inline(&kept.body)), (2, &b"abc"[..]));
        }
    }
    // The last time counts, and its own is none. Of other records only those that are named have another.
    let last = format!("0=7,1=8,0={}", time.0);
    let ran =
        run(vec![retimed(&last, "annotate"), retimed("1=9", "pass"), retimed("2=253402300799999", "pass")]);
    let times: Vec<_> = ran.into_iter().map(|ran| ran.unwrap().run.outputs[0].time).collect();
    assert_eq!(times, [None, Some(Timestamp(9)), Some(Timestamp(253_402_300_799_999))]);
}

#[test]
fn a_time_that_may_not_be_set_is_not() {
    let retimed =
        |times: &str, then: &str| record(Body::Inline("abc".into()), &[("times", times), ("then", then)]);
    let chain = chain(vec![behaving("retime")]);
    for (times, why) in [
        ("1=7", "this call has no such message whose time could be set"),
        ("4294967295=7", "this call has no such message whose time could be set"),
        ("0=253402300800000", "the time is after the year 9999"),
        ("0=18446744073709551615", "the time is after the year 9999"),
    ] {
        let failure = chain.run(vec![retimed(times, "pass")]).records.remove(0).unwrap_err();
        assert_eq!((failure.code(), failure.reason()), ("not-set", why), "{times}");
    }
    // Nothing of it is left for the next call, whatever became of this one.
    for then in ["refuse", "trap"] {
        let ran = chain.run(vec![retimed("0=7,1=7", then), retimed("1=1000", "pass")]).records;
        assert!(ran[0].is_err());
        let ran = chain
            .run(vec![record(Body::Inline("a".into()), &[("times", "0=1700000000000")])])
            .records
            .remove(0);
        assert_eq!(ran.unwrap().run.outputs[0].time, None, "{then}");
    }
    let mut early = behaving("retime-early");
    early.name = "early".parse().unwrap();
    assert!(load(vec![early], &Arc::default()).is_err());

    // Nobody else makes records of records.
    let gated = record(Body::Inline("x".into()), &[("gate", "time")]);
    let gate = self::chain(vec![stage("gate", json!({}))]);
    assert_eq!(gate.run(vec![gated]).records.remove(0).unwrap_err().code(), "not-set");
    let counter = self::chain(vec![stage("counter", json!({}))]);
    let counted = counter.run(vec![record(Body::Inline("x".into()), &[("time", "1")])]).records.remove(0);
    assert_eq!(counted.unwrap().run.outputs[0].time, None);
}

#[test]
fn keys_are_used_on_the_host() {
    let ran = chain(vec![behaving("keys")]).run(vec![text("abc")]).records.remove(0).unwrap().run;
    // As `wit/v1/host.wit` has them, of `value` in the domain `test` under `a secret`: a pseudonym, a code, and -18 days.
    let hex: String = inline(&ran.outputs[0].body).iter().map(|octet| format!("{octet:02x}")).collect();
    let (pseudonym, rest) = hex.split_at(64);
    assert_eq!(pseudonym, "350530ada57dabb78767cf1efd92b21ce04bf4abe6e11d45348e02963d3b9fae");
    assert_eq!(rest, "1db92dde2fc69a8c21b866d2cafaa1598a6dfff29ddca490c7d020fd021f0811ffffffee");
}

#[test]
fn so_many_values_are_sealed_at_once_and_no_more() {
    const SEALED_VALUES_MAX: usize = 4096;
    let mut spec = behaving("seal");
    let grants = ["log", "trace", "keys:research", "recipient:gp", "time", "random", "metrics"];
    spec.grants = Grants::parse(grants).unwrap();
    let chain = chain(vec![spec]);
    let run = |count: usize| chain.run(vec![text(&count.to_string())]).records.remove(0);
    assert_eq!(inline(&run(SEALED_VALUES_MAX).unwrap().run.outputs[0].body), b"4096");
    let refused = run(SEALED_VALUES_MAX + 1).unwrap_err();
    assert_eq!(refused.reason(), "at most 4096 values are sealed a call");
}

#[test]
fn what_a_pseudonym_stands_for_is_kept_or_the_record_does_not_go_on() {
    let services = Arc::new(Memory { keeps: true, ..Memory::default() });
    let chain = load(vec![behaving("keys")], &services).unwrap();
    let run = |chain: &hilum_sandbox::Chain| chain.run(vec![text("abc")]).records.remove(0);
    let ran = run(&chain).unwrap().run;
    let pseudonym = Pseudonym(inline(&ran.outputs[0].body)[..32].try_into().unwrap());
    let original = Original::new("test", b"value").unwrap();
    assert_eq!(*services.originals.lock().unwrap(), [(pseudonym, original)]);

    services.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    let Failure::Failed { kind, reason, .. } = run(&chain).unwrap_err() else { panic!("not a failure") };
    assert_eq!((kind, reason.as_str()), (FailureKind::Host, "the disk is gone"));
    assert_eq!(services.originals.lock().unwrap().len(), 1);
}

#[test]
fn decisions_follow_head_body_and_context() {
    let gated = |body: &str, gate: &str| record(Body::Inline(body.to_owned().into()), &[("gate", gate)]);
    let inputs = vec![
        gated("x", "allow"),
        gated("x", "deny"),
        gated("x", "oblige"),
        gated("open sesame", "read"),
        gated("shut", "read"),
    ];
    let mut ran = chain(vec![stage("gate", json!({}))]).run(inputs).records.into_iter();
    assert!(ran.next().unwrap().unwrap().obligations.is_empty());
    assert_eq!(ran.next().unwrap().unwrap_err().reason(), "not for `imaging`");
    let obliged = ran.next().unwrap().unwrap();
    assert_eq!(obliged.run.receipt.outcomes, [StageOutcome::Obliged]);
    assert_eq!(
        (obliged.obligations[0].name.as_str(), obliged.obligations[0].value.as_str()),
        ("break-glass", "reviewed")
    );
    assert!(ran.next().unwrap().is_ok());
    assert_eq!(ran.next().unwrap().unwrap_err().code(), "denied");
}

#[test]
fn what_a_reader_states_is_told_with_its_own_calls_alone() {
    let silent = chain(vec![stage("gate", json!({}))]);
    let stating = silent.stating(Some("stroke".parse().unwrap()));
    let other = stating.stating(Some("trauma".parse().unwrap()));
    let none = stating.stating(None);
    assert_eq!(silent.plan().digest(), stating.plan().digest());
    // All of them have the same instances, in turns.
    for _ in 0..2 {
        for (chain, told) in
            [(&silent, "nothing"), (&stating, "stroke"), (&other, "trauma"), (&none, "nothing")]
        {
            let input = record(Body::Inline("x".into()), &[("gate", "stated")]);
            assert_eq!(chain.run(vec![input]).records.remove(0).unwrap_err().reason(), told);
        }
    }
}

#[test]
fn what_another_stage_keeps_is_read_where_it_is_granted() {
    let services: Arc<Memory> = Arc::default();
    let kept = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    services.observed.lock().unwrap().insert("admissions/learn".into(), kept.into());
    let grants = ["observed:admissions/learn", "observed:gone/learn", "keys:research", "keys:none"];
    let granted = StageSpec { grants: Grants::parse(grants).unwrap(), ..stage("gate", json!({})) };
    let decided = |stage: StageSpec, body: &str| {
        let input = record(Body::Inline(body.to_owned().into()), &[("gate", "observed")]);
        let failure = load(vec![stage], &services).unwrap().run(vec![input]).records.remove(0).unwrap_err();
        let Failure::Refused { code, reason, .. } = failure else { panic!("{failure}") };
        format!("{code}: {reason}")
    };
    let many = |n: usize| format!("admissions/learn {}", vec!["a"; n].join(","));
    for (body, expected) in [
        ("admissions/learn a,c,b".to_owned(), "found: 1,-,2"),
        ("admissions/other a".into(), "not-granted: admissions/other"),
        ("nonsense a".into(), "not-granted: nonsense"),
        ("gone/learn a".into(), "unavailable: it is not there"),
        ("admissions/learn a,".into(), "malformed: "),
        (format!("admissions/learn {}", "k".repeat(257)), "malformed: "),
        (many(65), "malformed: "),
        ("code:other value".into(), "not-granted: other"),
        // As `keys.mac` has it.
        (
            "code:research value".into(),
            "code: 1db92dde2fc69a8c21b866d2cafaa1598a6dfff29ddca490c7d020fd021f0811",
        ),
        ("code:none value".into(), "unavailable: `none` has no secret"),
    ] {
        assert_eq!(decided(granted.clone(), &body), expected, "{body}");
    }
    assert!(decided(granted, &many(64)).starts_with("found: 1,1"));
    assert_eq!(decided(stage("gate", json!({})), "admissions/learn a"), "not-granted: admissions/learn");
}

#[test]
fn an_observer_keeps_state_and_emits() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![stage("counter", json!({}))], &services).unwrap();
    let first = chain.run(vec![text("a"), text("b")]);
    let second = chain.run(vec![text("c")]);
    let counts = |run: &hilum_sandbox::BatchRun| -> Vec<String> {
        run.emitted.iter().map(|emission| String::from_utf8(emission.body.to_vec()).unwrap()).collect()
    };
    assert_eq!((counts(&first), counts(&second)), (vec!["1".into(), "2".into()], vec!["3".to_owned()]));
    assert_eq!(first.emitted[0].flow.as_str(), "counts");
    assert_eq!(services.counters.lock().unwrap()["records"], 3);
    assert_eq!(services.state.lock().unwrap()["count"].version, 3);
}

#[test]
fn an_observers_call_that_fails_leaves_nothing() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![stage("counter", json!({}))], &services).unwrap();
    let run = chain.run(vec![text("a"), bad("b"), text("c")]);
    assert_eq!(run.records.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    // The batch failed first, then its records ran one by one: nothing is counted twice, and the bad one not at all.
    let counts: Vec<_> = run.emitted.iter().map(|emission| emission.body.clone()).collect();
    assert_eq!(counts, [&b"1"[..], b"2"]);
    assert_eq!(services.state.lock().unwrap()["count"].value, 2_u64.to_be_bytes());
}

#[test]
fn an_observer_is_told_the_time() {
    let (emitted, failures) = chain(vec![stage("counter", json!({}))]).tick();
    assert_eq!((emitted[0].body.as_ref(), failures.len()), (&b"tick 1700000000000"[..], 0));
}

#[test]
fn observers_that_are_put_off_see_the_records_as_they_stood_and_only_those_that_are_shown() {
    let services = Arc::<Memory>::default();
    let chain = load(vec![stage("counter", json!({}))], &services).unwrap();
    let run = chain.run_deferring(vec![text("a"), bad("b"), text("c")]);
    assert!(run.emitted.is_empty() && services.state.lock().unwrap().is_empty(), "nobody has seen anything");
    let deferred = |at: usize| run.records[at].as_ref().unwrap().observations.as_slice();
    let emitted = chain.observe(&[deferred(0), deferred(2)]).unwrap();
    let counts: Vec<_> = emitted.iter().map(|emission| emission.body.clone()).collect();
    assert_eq!(counts, [&b"1"[..], b"2"]);
    let failure = chain.observe(&[deferred(1)]).unwrap_err();
    assert_eq!((failure.stage().as_str(), failure.code()), ("counter", "trap"));
    assert_eq!(services.state.lock().unwrap()["count"].value, 2_u64.to_be_bytes());
    let alike = chain.run(vec![text("a")]).records.remove(0).unwrap();
    assert_eq!(alike.run.receipt, run.records[0].as_ref().unwrap().run.receipt, "the receipt is the same");
}

#[test]
fn a_stage_is_told_when_it_keeps_as_much_as_it_may() {
    for limits in
        [Limits { state_keys: 0, ..Limits::default() }, Limits { state_octets: 12, ..Limits::default() }]
    {
        let services = Arc::<Memory>::default();
        let chain = load(vec![StageSpec { limits, ..stage("counter", json!({})) }], &services).unwrap();
        // The plugin panics when it cannot count.
        let failure = chain.run(vec![text("a")]).records.remove(0).unwrap_err();
        assert_eq!(failure.code(), "trap", "{failure}");
        assert!(services.state.lock().unwrap().is_empty());
    }
    let services = Arc::<Memory>::default();
    let limits = Limits { state_keys: 1, state_octets: 13, ..Limits::default() };
    let chain = load(vec![StageSpec { limits, ..stage("counter", json!({})) }], &services).unwrap();
    assert!(chain.run(vec![text("a"), text("b")]).records.iter().all(Result::is_ok));
}
