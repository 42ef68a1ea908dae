//! SIGKILL under load, again and again: every acked record is there, in the order of its publisher, and none twice; readers get
//! each.

use std::time::Duration;

use hilum_tests::Broker;

use crate::load::Load;
use crate::support::times;

/// Processes that are killed. `cargo xtask crash --cycles N` sets another number.
const CYCLES: u32 = 200;
/// How long the load goes on at most after every publisher got an ack; another time in each cycle.
const LOAD_MAX: Duration = Duration::from_millis(150);
/// Each so many cycles, a broker is killed while it starts.
const STARTING: u32 = 8;
/// How long it may have been starting.
const STARTING_MAX: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acked_record_survives_sigkill_under_load_in_order_and_once() {
    let hospital = Load::hospital();
    let mut load = Load::new();
    for cycle in 0..times("HILUM_CRASH_CYCLES", CYCLES) {
        if cycle % STARTING == STARTING - 1 {
            Broker::kill_while_starting(hospital.path(), some_of(STARTING_MAX, cycle / STARTING));
        }
        let broker = Broker::start(hospital.path());
        load = load.run(&hospital, broker, some_of(LOAD_MAX, cycle), Broker::kill).await;
        if let Err(faults) = load.none_so_far() {
            panic!("cycle {cycle}: {faults:#?}");
        }
    }
    let broker = Broker::start(hospital.path());
    let checked = load.check(&hospital, &broker).await;
    println!("{} records", checked.unwrap_or_else(|faults| panic!("{faults:#?}")));
}

/// A part of a time that is another one for each number.
fn some_of(time: Duration, number: u32) -> Duration {
    time * (number * 37 % 100) / 100
}
