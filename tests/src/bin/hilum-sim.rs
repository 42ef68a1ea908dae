//! Runs seeds of the simulation, each in a process of its own, and says which failed and how to see it again.
//!
//! The process of a seed gets its random octets from the seed: hash keys, and the order in which tokio looks at the branches of
//! a `select!`, are then the same each time.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hilum_tests::sim::{self, Plant};

const USAGE: &str = "usage: hilum-sim [--seeds N] [--from S] [--jobs J] [--plant BUG] [--stop-at FAILURES]
       hilum-sim --seed S [--plant BUG] [--events]";

/// A seed that takes longer hangs: its virtual time does not go on.
const SEED_TIME: Duration = Duration::from_secs(60);
/// The seed of this process, for [`randomness`]; none in the one that starts the others.
const SEED_VARIABLE: &str = "HILUM_SIM_SEED";

/// Random octets from the seed.
mod randomness {
    #![allow(unsafe_code, reason = "a function of the C library is replaced")]

    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The seed, plus one; 0 for none.
    static SEED: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        static CALLS: Cell<u64> = const { Cell::new(0) };
    }

    /// From now on, each thread gets the same octets in each process with this seed.
    pub(crate) fn follow(seed: u64) {
        SEED.store(seed.wrapping_add(1), Ordering::SeqCst);
    }

    /// getrandom(2), which the standard library gets its hash keys from.
    ///
    /// # Safety
    ///
    /// `buffer` has room for `length` octets.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
        let seed = SEED.load(Ordering::SeqCst);
        if seed == 0 {
            // SAFETY: the caller's promise is the system call's.
            let filled = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
            return isize::try_from(filled).unwrap_or(-1);
        }
        let call = CALLS.with(|calls| calls.replace(calls.get() + 1));
        for at in 0..length {
            let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (call << 32) ^ (at as u64 / 8);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            // SAFETY: `at` is below `length`.
            unsafe { buffer.add(at).write(mixed.to_le_bytes()[at % 8]) };
        }
        length.cast_signed()
    }
}

struct Arguments {
    seed: Option<u64>,
    from: u64,
    seeds: u64,
    jobs: u64,
    plant: Option<Plant>,
    stop_at: u64,
    events: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match arguments.seed {
        Some(seed) if std::env::var_os(SEED_VARIABLE).is_some() => one(seed, &arguments),
        Some(seed) => {
            sim::prepare();
            let (passed, output) = child(seed, &arguments);
            print!("{output}");
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        None => {
            sim::prepare();
            many(&arguments)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let mut arguments =
        Arguments { seed: None, from: 0, seeds: 2000, jobs, plant: None, stop_at: 1, events: false };
    while let Some(word) = words.next() {
        if word == "--events" {
            arguments.events = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"));
        match word.as_str() {
            "--seed" => arguments.seed = Some(number()?),
            "--from" => arguments.from = number()?,
            "--seeds" => arguments.seeds = number()?,
            "--jobs" => arguments.jobs = number()?.max(1),
            "--stop-at" => arguments.stop_at = number()?.max(1),
            "--plant" => arguments.plant = Some(value.parse()?),
            _ => return Err(format!("unknown argument {word}")),
        }
    }
    Ok(arguments)
}

/// Runs one seed in this process.
fn one(seed: u64, arguments: &Arguments) -> ExitCode {
    randomness::follow(seed);
    // On a thread of its own: the main thread may have drawn its hash keys before.
    let plant = arguments.plant;
    let outcome = std::thread::spawn(move || sim::run(seed, plant)).join();
    let Ok(outcome) = outcome else {
        println!("seed {seed}: the run panicked");
        return ExitCode::FAILURE;
    };
    if arguments.events {
        outcome.events.iter().for_each(|event| println!("{event}"));
    }
    outcome.violations.iter().for_each(|violation| println!("seed {seed}: {violation}"));
    println!("seed {seed}: digest {}, {} datagrams", outcome.digest, outcome.packets);
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed in a process of its own. Whether it passed, and what it printed.
fn child(seed: u64, arguments: &Arguments) -> (bool, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string()]).env(SEED_VARIABLE, "1");
    if let Some(plant) = arguments.plant {
        command.args(["--plant", &plant.to_string()]);
    }
    if arguments.events {
        command.arg("--events");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("this program can be run");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut octets = Vec::new();
            if let Some(mut pipe) = pipe {
                // What cannot be read is not there.
                let _ = pipe.read_to_end(&mut octets);
            }
            String::from_utf8_lossy(&octets).into_owned()
        })
    };
    let stdout = read(stdout.map(|pipe| Box::new(pipe) as _));
    let stderr = read(stderr.map(|pipe| Box::new(pipe) as _));
    let started = Instant::now();
    let passed = loop {
        match child.try_wait().expect("it is our child") {
            Some(status) => break status.success(),
            None if started.elapsed() > SEED_TIME => {
                // It fails only where the child has just ended.
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let mut output = stdout.join().unwrap_or_default();
    if !passed {
        if started.elapsed() > SEED_TIME {
            output.push_str(&format!("seed {seed}: it hangs: its virtual time does not go on\n"));
        }
        output.push_str(&stderr.join().unwrap_or_default());
    }
    (passed, output)
}

/// Runs many seeds, some at a time.
fn many(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let output = Mutex::new(());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while failures.load(Ordering::SeqCst) < arguments.stop_at {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at >= arguments.seeds {
                        break;
                    }
                    let seed = arguments.from + at;
                    let (passed, text) = child(seed, arguments);
                    if !passed {
                        failures.fetch_add(1, Ordering::SeqCst);
                        let _held = output.lock();
                        let planted = arguments.plant.map_or_else(String::new, |plant| format!(" --plant {plant}"));
                        println!("{text}seed {seed} FAILED; to see it again: cargo xtask sim --seed {seed}{planted}");
                    }
                }
            });
        }
    });
    let (failed, ran) = (failures.into_inner(), next.into_inner().min(arguments.seeds));
    println!(
        "{ran} seeds from {}, {failed} failed, {:.1} s",
        arguments.from,
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
