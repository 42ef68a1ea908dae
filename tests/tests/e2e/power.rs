//! The power of a broker's disk is cut under load, again and again: every acked record is there, and the broker starts again
//! without anybody's help.

use std::time::Duration;

use hilum_tests::fuse::{FragileDisk, Survival, Sync};
use hilum_tests::{Broker, Hospital};

use crate::load::Load;
use crate::support::times;

/// Times that the power is cut. `cargo xtask power --cuts N` sets another number.
const CUTS: u32 = 100;
/// How long the load goes on at most after every publisher got an ack; another time for each cut.
const LOAD_MAX: Duration = Duration::from_millis(100);
/// What a sync takes. With no time at all there would seldom be something that is written and not synced.
const SYNC: Sync = Sync::Honest(Duration::from_micros(500));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acked_record_is_lost_when_the_power_is_cut() {
    let hospital = Load::hospital();
    let mut disk = FragileDisk::mount(&hospital.file("data"), SYNC);
    let mut load = Load::new();
    for cut in 0..times("HILUM_POWER_CUTS", CUTS) {
        // A disk either forgets all that was not synced, or has some of it written already.
        let survival = if cut % 3 == 0 { Survival::Nothing } else { Survival::Chance(cut.into()) };
        load = run_and_cut(load, &hospital, &mut disk, survival, LOAD_MAX * (cut * 37 % 100) / 100).await;
        if let Err(faults) = load.none_so_far() {
            panic!("cut {cut}, {survival:?}: {faults:#?}");
        }
    }
    let broker = Broker::start(hospital.path());
    let checked = load.check(&hospital, &broker).await;
    println!("{} records", checked.unwrap_or_else(|faults| panic!("{faults:#?}")));
}

/// What the test above would say of a broker that acks before its records are safe: a disk whose sync does nothing makes it one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_acked_and_is_not_safe_is_missed() {
    let hospital = Load::hospital();
    let mut disk = FragileDisk::mount(&hospital.file("data"), Sync::Lying);
    let mut load = Load::new();
    for _ in 0..2 {
        load = run_and_cut(load, &hospital, &mut disk, Survival::Nothing, LOAD_MAX).await;
    }
    let faults = load.none_so_far().unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("the broker knows of 0 only")), "{faults:#?}");
}

async fn run_and_cut(
    load: Load,
    hospital: &Hospital,
    disk: &mut FragileDisk,
    survival: Survival,
    time: Duration,
) -> Load {
    let broker = Broker::start(hospital.path());
    let cut = |broker: Broker| {
        disk.cut(survival);
        broker.kill();
    };
    let load = load.run(hospital, broker, time, cut).await;
    disk.restore();
    load
}
