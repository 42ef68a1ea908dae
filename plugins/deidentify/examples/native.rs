//! The plugin without a sandbox, for `cargo xtask bench deidentify`: the DICOM files of a folder, from file to file, on some threads.
//!
//! `native FROM TO THREADS` prints how many files it made in a second.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use hilum_deidentify::Deidentify;
use hilum_plugin::{Outcome, Transform, testing};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(rate) => {
            println!("{rate:.0}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("native: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<f64, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, threads] = arguments.as_slice() else {
        return Err("usage: native FROM TO THREADS".into());
    };
    let (to, threads): (PathBuf, usize) = (to.into(), threads.parse()?);
    let mut files = fs::read_dir(from)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Error>>()?;
    files.sort();
    fs::create_dir_all(&to)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Error> {
        let mut plugin = Deidentify::configure(testing::config(serde_json::json!({})))?;
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let octets = fs::read(path)?;
            let message = testing::message("application/dicom", octets);
            let draft = match plugin.transform(&testing::context(), message) {
                Outcome::Replace(draft) => draft,
                other => return Err(format!("{}: {other:?}", path.display()).into()),
            };
            let name = path.file_name().ok_or("a file without a name")?;
            let octets = testing::octets(draft.body);
            fs::write(to.join(name), octets)?;
        }
        Ok(())
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread ended abnormally")?)
    })?;
    Ok(files.len() as f64 / began.elapsed().as_secs_f64())
}
