//! The answer to an order is lost with the connection: what is in the directory is what the broker runs all the same.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use hilum_tests::binary;
use hilum_tests::relay::{Relay, Way};

use super::*;

/// How much later each datagram is carried, so that there is time for a cut between the order and its answer.
const LATER: Duration = Duration::from_millis(700);
/// A cut that came too late all the same is tried again.
const TRIES: u8 = 5;

/// What became of an upgrade that was cut short.
struct Cut {
    scene: Scene,
    number: u8,
    exit: Option<i32>,
    said: String,
}

/// Upgrades the guest, and lets something happen to the network between the order and its answer.
fn upgrade(then: fn(&Relay)) -> Cut {
    let scene = Scene::new("", &[through(behaving("pass"))]);
    for number in 1..=TRIES {
        let file = scene.hospital.file(&format!("hostile-{number}.wasm"));
        fs::write(&file, component(number)).unwrap();
        let relay = Relay::before(scene.broker.address());
        relay.delay(LATER);
        let mut command = Command::new(binary());
        command.args(["plugin", "upgrade"]).arg(scene.hospital.path()).arg("hostile").arg("--to").arg(&file);
        command.args(["--yes", "--as", "operator", "--address", &relay.address()]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        // It shows what changes, and gives the order at once.
        stdout.read_line(&mut said).unwrap();
        then(&relay);
        relay.delay(Duration::ZERO);
        stdout.read_to_string(&mut said).unwrap();
        let output = child.wait_with_output().unwrap();
        said += &String::from_utf8(output.stderr).unwrap();
        if said.contains("asking the broker what it runs") {
            return Cut { scene, number, exit: output.status.code(), said };
        }
    }
    panic!("the cut always came too late");
}

impl Cut {
    fn digest(&self) -> String {
        hilum_core::Digest::of(&component(self.number)).to_string()
    }

    fn component_is_there(&self) -> bool {
        let file = format!("plugins/hostile-{}.wasm", &self.digest()[..12]);
        self.scene.hospital.file(&file).exists()
    }

    fn runs(&self) -> bool {
        self.scene.stages()["judge"]["current"]["sha256"] == self.digest()
    }

    fn agrees(&self) {
        says(&self.scene.does("reload", "--dry-run"), &["the broker has this configuration already"]);
    }
}

#[test]
fn an_order_whose_answer_was_lost_took_effect_and_so_do_the_files() {
    let cut = upgrade(|relay| relay.cut_way(Way::Down));
    assert_eq!(cut.exit, Some(0), "{}", cut.said);
    says(&cut.said, &["changes took effect"]);
    assert!(cut.runs() && cut.component_is_there(), "{}", cut.said);
    cut.agrees();
}

#[test]
fn an_order_that_was_lost_itself_leaves_everything_as_it_was() {
    // Where the cut comes late, the order takes effect, and that is told too.
    let cut = upgrade(Relay::cut);
    let (exit, took_effect) = if cut.runs() { (0, true) } else { (4, false) };
    assert_eq!(cut.exit, Some(exit), "{}", cut.said);
    if !took_effect {
        says(&cut.said, &["nothing was changed", "the files are as they were", "help: do it again"]);
    }
    assert_eq!(cut.component_is_there(), took_effect);
    cut.agrees();
}

#[test]
fn where_it_cannot_be_found_out_the_files_stay_as_ordered() {
    let cut = upgrade(|relay| {
        relay.cut_way(Way::Down);
        relay.close();
    });
    assert_eq!(cut.exit, Some(4), "{}", cut.said);
    says(&cut.said, &["is not known", "no answer from a broker", "The files stay as they were ordered"]);
    says(&cut.said, &["hilum reload ", " --as operator --dry-run"]);
    assert!(cut.runs() && cut.component_is_there(), "{}", cut.said);
    assert!(cut.scene.hospital.file("plugins/hostile.wasm").exists(), "nothing is deleted");
    cut.agrees();
}
