//! A hospital of its own for one run: a temporary directory, and a broker that is a child process of the real binary.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long the broker may take to stop after it was asked to.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// How often the broker's process is looked at while it stops.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Lines of the broker's log that an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// A hospital directory that goes away with this value.
#[derive(Debug)]
pub struct Hospital {
    directory: tempfile::TempDir,
    hilum: PathBuf,
    address: SocketAddr,
}

impl Hospital {
    /// Runs `hilum init` in a new temporary directory and gives the broker a free port.
    pub fn init(hilum: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hilum-hospital-").tempdir()?;
        let hospital = Self { hilum: hilum.to_owned(), address: free_address()?, directory };
        hospital.hilum(&["init"])?;
        hospital.listen_on_own_port()?;
        Ok(hospital)
    }

    /// The hospital directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the broker listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Starts `hilum serve`. It may take a moment until it answers.
    pub fn serve(&self) -> anyhow::Result<Broker> {
        let log = self.path().join("broker.log");
        let file = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = Command::new(&self.hilum)
            .arg("serve")
            .arg(self.path())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {}", self.hilum.display()))?;
        Ok(Broker { child, log })
    }

    /// A run must not meet another broker, so the example's fixed port is replaced.
    fn listen_on_own_port(&self) -> anyhow::Result<()> {
        let path = self.path().join("hilum.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut found = 0;
        let lines = text.lines().map(|line| {
            if line.starts_with("listen = ") {
                found += 1;
                return format!("listen = \"{}\"\n", self.address);
            }
            format!("{line}\n")
        });
        let text: String = lines.collect();
        if found != 1 {
            bail!("{} has {found} lines that start with `listen = `, and should have one", path.display());
        }
        self.write("hilum.toml", &text)
    }
}

/// A UDP port of the loopback interface that nobody has right now.
fn free_address() -> anyhow::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind a UDP socket on loopback")?;
    Ok(socket.local_addr()?)
}

/// A running `hilum serve`. Killed when dropped; [`Broker::stop`] is the good end.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    log: PathBuf,
}

impl Broker {
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
                None => std::thread::sleep(POLL_INTERVAL),
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
