//! Components that no compiler makes: written as text, with everything where it hurts.

use std::path::Path;
use std::time::{Duration, Instant};

use hilum_sandbox::{FailureKind, Limit, LoadError, StageSpec};
use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::hostile::stopped_on;
use crate::support::{sandbox, text};

/// A `transform` plugin with these instructions in its functions, and with more in its module.
fn component(describe: &str, transform: &str, more: &str) -> Vec<u8> {
    // `describe` gives the address of a record: name, version, schema, and two empty lists.
    let module = format!(
        r#"(module
            (memory (export "memory") 1)
            (table $table 1 funcref)
            (data (i32.const 1024) "hostile" "0.1.0" "{{}}")
            (data (i32.const 2048) "\00\04\00\00\07\00\00\00" "\07\04\00\00\05\00\00\00" "\0c\04\00\00\02\00\00\00"
                                   "\00\00\00\00\00\00\00\00" "\00\00\00\00\00\00\00\00")
            (global $free (mut i32) (i32.const 8192))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.get $free)
                (global.set $free (i32.add (global.get $free) (local.get 3))))
            (func (export "hilum:plugin/plugin@1.1.0#describe") (result i32) {describe} (i32.const 2048))
            (func (export "hilum:plugin/plugin@1.1.0#configure") (param i32 i32) (result i32) (i32.const 4096))
            (func (export "hilum:plugin/transformer@1.1.0#transform") (param i32) (result i32) {transform})
            {more}
        )"#
    );
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/v1")).unwrap();
    let world = resolve.select_world(&[package], Some("transform")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

fn stage(component: &[u8]) -> StageSpec {
    StageSpec {
        name: "hostile".parse().unwrap(),
        plugin: sandbox().load(component).unwrap(),
        config: json!({}),
        grants: Default::default(),
        limits: Default::default(),
    }
}

#[test]
fn a_table_that_grows_without_end_runs_into_its_limit() {
    let grow = "(loop $more (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let (kind, limit, reason) = stopped_on(stage(&component("", grow, "")), |_| text("x"));
    assert_eq!((kind, limit), (FailureKind::Memory, Some(Limit::TableElements)));
    assert!(reason.ends_with("`table_elements` is 20000"), "{reason}");
}

#[test]
fn recursion_without_end_runs_out_of_stack() {
    let recurse = "(func $deep (param i32) (result i32) (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";
    let component = component("", "(call $deep (i32.const 0))", recurse);
    let (kind, limit, reason) = stopped_on(stage(&component), |_| text("x"));
    assert_eq!((kind, limit), (FailureKind::Stack, Some(Limit::Stack)));
    assert_eq!(reason, "the plugin ran out of stack: `stack_octets` is 524288");
}

#[test]
fn an_answer_that_is_nowhere_or_never_ends_is_a_trap() {
    // A list of four thousand million outcomes, and one outside of the memory.
    for answer in ["(i32.store (i32.const 4100) (i32.const -1)) (i32.const 4096)", "(i32.const -8)"] {
        let (kind, _, reason) = stopped_on(stage(&component("", answer, "")), |_| text("x"));
        assert_eq!(kind, FailureKind::Trap, "{reason}");
    }
}

#[test]
fn describing_takes_no_longer_than_a_second() {
    let began = Instant::now();
    let error = sandbox().load(&component("(loop $for_ever (br $for_ever))", "unreachable", "")).unwrap_err();
    assert_eq!(error, LoadError::Description("it takes longer than 1s".into()));
    assert!(began.elapsed() < Duration::from_secs(5));
    let start = "(start $start) (func $start (loop $for_ever (br $for_ever)))";
    let error = sandbox().load(&component("", "unreachable", start)).unwrap_err();
    assert_eq!(error, LoadError::Description("it takes longer than 1s".into()));
}

#[test]
fn a_description_is_no_longer_than_its_schema_may_be() {
    let long = "(drop (memory.grow (i32.const 100))) (i32.store (i32.const 2068) (i32.const 6000000))";
    let error = sandbox().load(&component(long, "unreachable", "")).unwrap_err();
    assert!(matches!(&error, LoadError::Description(reason) if reason.contains("fuel")), "{error}");
}

#[test]
fn a_component_of_too_many_parts_does_not_load() {
    let many = |item: &str, count| {
        let items: String = (0..count).map(|_| item).collect();
        let text = format!("(component (core module $m (table 1 funcref)) {items})");
        sandbox().load(&wat::parse_str(text).unwrap()).unwrap_err().to_string()
    };
    let instance = "(core instance (instantiate $m))";
    assert!(many(instance, 65).contains("65 core module instances"), "{}", many(instance, 65));
    assert!(many(instance, 9).contains("9 tables"), "{}", many(instance, 9));
}

/// A compilation cannot be stopped, so that what would take long is not begun.
#[test]
fn a_component_that_would_take_long_to_compile_is_not_compiled() {
    let refused = |more: &str| sandbox().load(&component("", "unreachable", more)).unwrap_err().to_string();
    let began = Instant::now();
    let functions = "(func)".repeat(100_001);
    assert!(refused(&functions).contains("more than 100000 functions"));
    let long = format!("(func {})", "(drop (i32.const 1))".repeat(200_000));
    assert!(refused(&long).contains("more than 524288 octets of code in one function"));
    println!("refused in {:?}", began.elapsed());
}
