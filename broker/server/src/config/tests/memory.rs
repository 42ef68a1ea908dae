//! `[memory]`: how much may be under way.

use super::*;

fn under_way(memory: &str) -> u64 {
    let mut files = hospital();
    files.get_mut("hilum.toml").unwrap().push_str(&format!("\n{memory}\n"));
    checked(&files).unwrap().under_way_octets()
}

#[test]
fn is_half_a_gigabyte_unless_said_otherwise() {
    assert_eq!(under_way(""), 512 << 20);
    assert_eq!(under_way("[memory]\nunder_way = \"2GiB\""), 2 << 30);
}

#[test]
fn is_never_less_than_the_flows_need() {
    check_main(
        "[labels]",
        "[memory]\nunder_way = \"32MiB\"\n\n[labels]",
        expect![[r#"
            error: hilum.toml: `memory.under_way`: 33554432 octets are too few for the flows and subscriptions of this hospital
            help: write at least "57MiB""#]],
    );
}
