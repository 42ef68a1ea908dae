//! The binary as a child process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The binary, built by the same cargo in the same profile and with the same features as the tests (so of all packages), once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--all-targets"])
            .current_dir(crate::workspace())
            .status()
            .unwrap();
        assert!(status.success(), "the binary does not build");
        let deps = std::env::current_exe().unwrap();
        // target/<profile>/deps/<test binary>
        deps.ancestors().nth(2).unwrap().join("hilum")
    })
}

/// Runs `hilum` to its end.
pub fn hilum<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// As [`hilum`], with something on its standard input.
pub fn hilum_reading<S: AsRef<std::ffi::OsStr>>(
    input: &[u8],
    arguments: impl IntoIterator<Item = S>,
) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read; the test sees that from how it ends.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A broker process. Killed when dropped.
pub struct Broker {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts the broker of a hospital directory and waits until it listens.
    pub fn start(directory: &Path) -> Self {
        Self::try_start(directory).unwrap_or_else(|log| panic!("the broker did not start:\n{log}"))
    }

    /// As `start`; what the broker said where it does not start.
    pub fn try_start(directory: &Path) -> Result<Self, String> {
        let mut command = Command::new(binary());
        command.arg("serve").arg(directory);
        Self::spawn(command)
    }

    /// Starts a broker and kills it after so long, whether it listens by then or not.
    pub fn kill_while_starting(directory: &Path, after: Duration) {
        let mut command = Command::new(binary());
        command.arg("serve").arg(directory);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As `start`, with `data/` on a file system of its own that has so many octets.
    pub fn start_on_small_disk(directory: &Path, octets: u64) -> Self {
        std::fs::create_dir_all(directory.join("data")).unwrap();
        let script = format!("mount -t tmpfs -o size={octets} tmpfs \"$1/data\" && exec \"$0\" serve \"$1\"");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(binary()).arg(directory);
        Self::spawn(command).unwrap_or_else(|log| panic!("the broker did not start:\n{log}"))
    }

    /// As `start`, with more on its command line.
    pub fn start_with_arguments(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").arg(directory).args(arguments);
        Self::spawn(command).unwrap_or_else(|log| panic!("the broker did not start:\n{log}"))
    }

    /// As `start`, with more in its environment.
    pub fn start_with(directory: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").arg(directory).envs(environment.iter().copied());
        Self::spawn(command).unwrap_or_else(|log| panic!("the broker did not start:\n{log}"))
    }

    fn spawn(mut command: Command) -> Result<Self, String> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let copy = log.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = copy.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            child.wait().unwrap();
            reader.join().unwrap();
            let log = log.lock().unwrap().clone();
            return Err(log);
        };
        // What it still prints must go somewhere, or it would wait for us.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        Ok(Self { child, address: address.to_owned(), log, reader: Some(reader) })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits. Whether it ended in good order, and what it said.
    pub fn stop(mut self) -> (bool, String) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        (status.success(), self.log())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
