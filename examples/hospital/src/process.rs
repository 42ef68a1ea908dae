//! A hospital of its own for one run: a temporary directory, and a broker that is a child process of the real binary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long the broker may take to start: it compiles its plugins first.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the broker may take to stop after it was asked to.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// How often the broker's process is looked at while it stops.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of the broker's log that an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// A hospital directory that goes away with this value.
#[derive(Debug)]
pub struct Hospital {
    directory: tempfile::TempDir,
    hilum: PathBuf,
}

impl Hospital {
    /// Runs `hilum init` in a new temporary directory.
    pub fn init(hilum: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hilum-hospital-").tempdir()?;
        let hospital = Self { hilum: hilum.to_owned(), directory };
        hospital.hilum(&["init"])?;
        Ok(hospital)
    }

    /// The hospital directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds or replaces a file of the configuration.
    pub fn write(&self, relative: &str, content: &str) -> anyhow::Result<()> {
        let path = self.path().join(relative);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Runs `hilum COMMAND DIR` and wants it to succeed.
    pub fn hilum(&self, command: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(&self.hilum)
            .args(command)
            .arg(self.path())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.hilum.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`hilum {}` failed: {}\n{said}", command.join(" "), output.status);
        }
        Ok(())
    }

    /// Starts `hilum serve` on a free port and waits until it listens. `environment` is added to our own.
    pub fn serve(&self, environment: &[(&str, &str)]) -> anyhow::Result<Broker> {
        let log = self.path().join("broker.log");
        let file = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = Command::new(&self.hilum)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .arg(self.path())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {}", self.hilum.display()))?;
        Broker::listening(child, log)
    }
}

/// A running `hilum serve`. Killed when dropped; [`Broker::stop`] is the good end.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Broker {
    /// Waits for the line of standard output that says where the broker listens.
    fn listening(mut child: Child, log: PathBuf) -> anyhow::Result<Self> {
        let output = child.stdout.take().context("the broker's standard output is a pipe")?;
        // Made before any error, so that the child ends with it.
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut broker = Self { child, log, address: unspecified };
        let (said, heard) = mpsc::channel();
        // Reads to the end, so that the broker never writes to a closed pipe.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let line = heard.recv_timeout(START_TIME_MAX).unwrap_or_default();
        match line.strip_prefix("listening on ").and_then(|address| address.parse().ok()) {
            Some(address) => broker.address = address,
            None => bail!("the broker did not say where it listens\n{}", broker.log_end()),
        }
        Ok(broker)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An error with the end of the broker's log, if it has stopped by itself.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the broker stopped by itself: {status}\n{}", self.log_end());
        }
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and wants it to do so in good order.
    pub fn stop(mut self) -> anyhow::Result<Duration> {
        self.check_running()?;
        let start = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("cannot signal the broker")?;
        while start.elapsed() < STOP_TIME_MAX {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(start.elapsed()),
                Some(status) => bail!("the broker stopped with {status}\n{}", self.log_end()),
                None => thread::sleep(POLL_INTERVAL),
            }
        }
        bail!("the broker did not stop within {} s of SIGTERM\n{}", STOP_TIME_MAX.as_secs(), self.log_end())
    }

    /// All that it wrote so far.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("cannot read {}", self.log.display()))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // After `stop` there is nobody left to kill, and an error changes nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The broker's binary: as named, or beside this one.
pub fn find_hilum(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let file = format!("hilum{}", std::env::consts::EXE_SUFFIX);
            std::env::current_exe().context("cannot tell where this program is")?.with_file_name(file)
        }
    };
    if !path.is_file() {
        bail!(
            "{} is not there: build it with `cargo build -p hilum`, or name it with --hilum",
            path.display()
        );
    }
    Ok(path)
}
