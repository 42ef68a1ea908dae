//! The example `claim-duplicates`: whatever comes is counted, what comes again is found, and what is kept fits the state.

use std::cell::RefCell;

use hilum_claim_duplicates::{ClaimDuplicates, X12_CONTENT_TYPE};
use serde_json::json;

use crate::memory;
use crate::plugin::{count, emitted, observe, twice};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Of a value of the state, and of one claim in it.
const VALUE_OCTETS_MAX: usize = 64 << 10;
const ENTRY_OCTETS: usize = 22;

thread_local! {
    static PLUGIN: RefCell<ClaimDuplicates> =
        RefCell::new(observe(&json!({"alerts_flow": "alerts", "key": "claims", "window_days": 90})));
}

/// Shows an interchange twice.
pub fn check(octets: &[u8]) {
    let [first, both] = PLUGIN.with_borrow_mut(|plugin| twice(plugin, X12_CONTENT_TYPE, octets));
    for counter in ["claims", "incomplete", "malformed"] {
        assert_eq!(2 * count(&first, counter), count(&both, counter), "{counter} of the same interchange");
    }
    let (claims, found) = (count(&first, "claims"), count(&first, "duplicates"));
    let again = count(&both, "duplicates") - found;
    assert!(found <= claims && found <= again && again <= claims, "{found}, then {again} of {claims}");
    for alert in emitted(&both) {
        let listed = alert["claims"].as_array().expect("it is a list").len() as u64;
        assert!(listed > 0 && Some(listed) <= alert["count"].as_u64(), "{alert}");
    }
    let kept: usize = both.state.values().map(|kept| kept.value.len()).sum();
    assert!(kept as u64 <= claims * ENTRY_OCTETS as u64, "a claim is kept more than once");
    assert!(both.state.values().all(|kept| kept.value.len() <= VALUE_OCTETS_MAX));
}

/// The interchanges of the reader's target, and the three kinds of claims with corrections.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = crate::x12::seeds();
    for (version, line) in [
        ("005010X222A1", "SV1*HC:70551:26*1250*UN*1***1"),
        ("005010X223A2", "SV2*0611*HC:70551*+01250.00*UN*1"),
        ("005010X224A2", "SV3*AD:D0120*1250****1"),
    ] {
        let claim = |frequency: u8| {
            format!(
                "CLM*A*1250***22:B:{frequency}*Y~DTP*434*RD8*20261120-20261121~LX*1~{line}~DTP*472*D8*20261120~"
            )
        };
        let body = format!(
            "BHT*0019*00*1*20261126*1000*CH~HL*1**20*1~NM1*85*2*ST MARYS*****XX*1234567893~HL*2*1*22*0~\
             SBR*P*18*******CI~NM1*IL*1*DOE*JANE****MI*MEMBER4711~{}HL*3*2*23*0~PAT*19~NM1*QC*1*DOE*JIM~\
             DMG*D8*20150505*M~{}{}{}",
            claim(1),
            claim(1),
            claim(8),
            claim(7)
        );
        let segments = body.matches('~').count() + 2;
        seeds.push(
            format!(
                "ISA*00*          *00*          *ZZ*STMARYS        *ZZ*KEYINSURANCE   *261126*1000*^*00501*000000042*0*P*:~\
                 GS*HC*A*B*20261126*1000*1*X*{version}~ST*837*0001*{version}~{body}SE*{segments}*0001~GE*1*1~IEA*1*000000042~"
            )
            .into_bytes(),
        );
    }
    seeds
}
