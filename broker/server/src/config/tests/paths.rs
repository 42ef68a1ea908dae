//! Where records may go: conduits, rules that mean nobody, what plugins emit, and labels.

use super::*;

#[test]
fn wants_a_conduit_for_every_path() {
    check_main(
        "from = \"device\"\nto = \"clinical\"",
        "from = \"vendor\"\nto = \"clinical\"",
        expect![[r#"
        error: flows/imaging.toml:7:15: `publish[0].stakeholder`: `spiffe://st-marys/device/mri-1` could not publish: no conduit leads from zone `device` to zone `clinical`
        help: add [[conduits]] from = "device" to = "clinical" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
    check_main(
        "from = \"device\"\nto = \"vendor\"",
        "from = \"vendor\"\nto = \"device\"",
        expect![[r#"
        error: flows/device.toml:18:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
        help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
        error: flows/maintenance.toml:8:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
        help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
    check_main(
        "from = \"device\"\nto = \"vendor\"",
        "from = \"device\"\nto = \"device\"",
        expect![[r#"
            error: hilum.toml:22:6: `conduits[1].to`: a conduit leads from zone `device` to itself
            help: remove it: within a zone no conduit is needed
            error: flows/device.toml:18:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
            error: flows/maintenance.toml:8:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
    check(
        &[
            ("flows/maintenance.toml", "zone = \"device\"", "zone = \"vendor\""),
            ("hilum.toml", "to = \"vendor\"", "to = \"clinical\""),
        ],
        expect![[r#"
            error: flows/device.toml:12:31: `ingress[0].grants[2]`: the stage could not emit: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there
            error: flows/device.toml:18:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
}

#[test]
fn wants_somebody_for_every_rule() {
    check_main(
        "stakeholder = \"radiology\"",
        "stakeholder = \"imaging-dept\"",
        expect![[r#"
        error: flows/device.toml:7:15: `publish[0].stakeholder`: `spiffe://st-marys/service/workstation-1` could not publish: no conduit leads from zone `clinical` to zone `device`
        help: add [[conduits]] from = "clinical" to = "device" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
        error: flows/imaging.toml:12:15: `subscription[0].stakeholder`: stakeholder `radiology` has no principal
        help: describe one in hilum.toml: [principals.NAME] with stakeholder = "radiology""#]],
    );
    check_device(
        "\"emit:maintenance\"",
        "\"log\"",
        expect![[r#"
        error: flows/maintenance.toml:1:8: `publish`: nobody may publish to flow `maintenance`
        help: add [[publish]] with a stakeholder, or let a stage of another flow emit to it"#]],
    );
}

#[test]
fn lets_nothing_go_in_circles() {
    check(
        &[(
            "flows/maintenance.toml",
            "[[subscription]]",
            "[[ingress]]\nstage = \"back\"\nplugin = \"analytics\"\ngrants = [\"emit:device\"]\n\n[[subscription]]",
        )],
        expect![[r#"
            error: flows/device.toml:12:31: `ingress[0].grants[2]`: flow `device` would feed itself through `maintenance`
            help: emit to a flow from which nothing leads back
            error: flows/maintenance.toml:9:11: `ingress[0].grants[0]`: flow `maintenance` would feed itself through `device`
            help: emit to a flow from which nothing leads back"#]],
    );
    check_imaging(
        "[[publish]]",
        "[[ingress]]\nstage = \"watch\"\nplugin = \"analytics\"\ngrants = [\"emit:maintenance\"]\n\n[[publish]]",
        expect![[r#"
            error: flows/imaging.toml:9:11: `ingress[0].grants[0]`: the stage could not emit: no conduit leads from zone `clinical` to zone `device`
            help: add [[conduits]] from = "clinical" to = "device" to hilum.toml if the path is meant to be there
            error: flows/imaging.toml:9:11: `ingress[0].grants[0]`: stage `watch` of flow `device` emits under the same name
            help: give one of the two stages another name"#]],
    );
}

#[test]
fn emits_before_records_are_stored_only() {
    let stage = "[[subscription.egress]]\nstage = \"late\"\nplugin = \"analytics\"\ngrants = [\"emit:maintenance\"]\n";
    check_device(
        "purpose = \"PERFMSR\"\n",
        &format!("purpose = \"PERFMSR\"\n\n{stage}"),
        expect![[r#"
        error: flows/device.toml:24:11: `subscription[0].egress[0].grants[0]`: a stage before delivery may not emit: a redelivery would emit again
        help: move the stage to the flow's [[ingress]] chain"#]],
    );
}

#[test]
fn keeps_state_before_records_are_stored_only() {
    let stage = "[[subscription.egress]]\nstage = \"late\"\nplugin = \"analytics\"\ngrants = [\"state\"]\n";
    check_device(
        "purpose = \"PERFMSR\"\n",
        &format!("purpose = \"PERFMSR\"\n\n{stage}"),
        expect![[r#"
        error: flows/device.toml:24:11: `subscription[0].egress[0].grants[0]`: a stage before delivery may not keep state: a redelivery would count again
        help: move the stage to the flow's [[ingress]] chain"#]],
    );
    check_device(
        "memory_octets = 1_000_000",
        "state_keys = 0",
        expect![[r#"
        error: flows/device.toml:14:25: `ingress[0].limits.state_keys`: a whole number from 1 to 1048576 is needed here
        help: write a number in this range"#]],
    );
}

#[test]
fn refuses_a_leak() {
    check_main(
        "cleared = [\"phi\"]",
        "cleared = [\"device\"]",
        expect![[r#"
        error: flows/imaging.toml:11:8: `subscription.radiology`: stakeholder `radiology` is not cleared for label `phi` and would receive it
        help: add an [[subscription.egress]] stage that removes `phi`, or add `phi` to `cleared` of [stakeholders.radiology]"#]],
    );
    let cleaned = "purpose = \"TREAT\"\n[[subscription.egress]]\nstage = \"clean\"\nplugin = \"deidentify\"\nconfig = { removes = [\"phi\"] }\n";
    check(
        &[
            ("hilum.toml", "cleared = [\"phi\"]", "cleared = []"),
            ("flows/imaging.toml", "purpose = \"TREAT\"\n", cleaned),
        ],
        expect!["all right"],
    );
}

#[test]
fn refuses_a_leak_by_way_of_a_plugin() {
    check_device(
        "labels = [\"device\"]",
        "labels = [\"device\", \"phi\"]",
        expect![[r#"
        error: flows/device.toml:10:9: `grants`: stage `watch` sees label `phi` and may emit to flow `maintenance`, which does not carry it
        help: put a stage that removes `phi` before it, or add `phi` to the labels of flow `maintenance`
        error: flows/device.toml:17:8: `subscription.manufacturer`: stakeholder `manufacturer` is not cleared for label `phi` and would receive it
        help: add an [[subscription.egress]] stage that removes `phi`, or add `phi` to `cleared` of [stakeholders.manufacturer]"#]],
    );
}

#[test]
fn removing_at_ingress_holds_for_all_readers() {
    check(
        &[
            ("flows/device.toml", "labels = [\"device\"]", "labels = [\"device\", \"phi\"]"),
            ("flows/device.toml", "threshold = 20.5", "removes = [\"phi\"]"),
        ],
        expect!["all right"],
    );
}

#[test]
fn passes_on_what_a_plugin_says_of_its_configuration() {
    check_device(
        "threshold = 20.5",
        "broken = 1",
        expect![[r#"
        error: flows/device.toml:10:9: `config.broken`: there is no setting `broken`
        help: remove it"#]],
    );
}
