//! What a plugin may try to get of the machine through its language's own library, which is WASI underneath.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Instant, SystemTime};

use hilum_plugin::{Attribute, Outcome, Refusal};
use serde::Deserialize;

/// What it reaches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// The time of day.
    WallClock,
    /// The time that passes.
    MonotonicClock,
    /// Randomness.
    Entropy,
    /// Environment and arguments: it tells how many there are.
    Environment,
    /// The standard streams: what is written to them goes nowhere.
    Streams,
    /// The standard input.
    Input,
    /// The order of a hash map, which its seed decides.
    HashOrder,
    /// The end of the process.
    Exit,
}

/// Tries it, and tells what came of it.
pub(crate) fn reach(what: Reach) -> Outcome {
    let got = match what {
        Reach::WallClock => Ok(format!("{:?}", black_box(SystemTime::now()))),
        Reach::MonotonicClock => Ok(format!("{:?}", black_box(Instant::now()))),
        Reach::Entropy => Ok(format!("{:?}", entropy())),
        Reach::Environment => Ok(format!("{} {}", std::env::vars().count(), std::env::args().count())),
        Reach::Streams => {
            println!("to nowhere");
            eprintln!("to nowhere");
            Ok("written".to_owned())
        }
        Reach::Input => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map(|octets| octets.to_string())
        }
        Reach::HashOrder => {
            let all: HashSet<u32> = (0..64).collect();
            Ok(format!("{:?}", all.into_iter().collect::<Vec<_>>()))
        }
        Reach::Exit => std::process::exit(0),
    };
    match got {
        Ok(got) => Outcome::Annotate(vec![Attribute::new("got", got)]),
        Err(error) => Refusal::new("io", error).into(),
    }
}

/// What crates for random numbers ask for.
#[expect(unsafe_code, reason = "the standard library has no safe way to ask for it")]
fn entropy() -> [u8; 8] {
    unsafe extern "C" {
        fn getentropy(buffer: *mut u8, length: usize) -> i32;
    }
    let mut octets = [0; 8];
    // SAFETY: the buffer is as long as is said.
    let failed = unsafe { getentropy(octets.as_mut_ptr(), octets.len()) };
    assert_eq!(failed, 0, "there is no entropy");
    octets
}
