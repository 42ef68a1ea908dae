//! How much memory a process takes, and how much more at its worst.

use anyhow::Context as _;

/// The memory of a process since a moment.
pub(super) struct Memory {
    process: u32,
    before: u64,
}

impl Memory {
    /// Begins to look: what a process had at its worst is forgotten (`clear_refs` of proc(5)).
    pub(super) fn of(process: u32) -> anyhow::Result<Self> {
        std::fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        Ok(Self { process, before: resident_octets(process)? })
    }

    /// Octets that it had more at its worst than when this was made.
    pub(super) fn grown(&self) -> anyhow::Result<u64> {
        Ok(figure(self.process, "VmHWM:")?.saturating_sub(self.before))
    }
}

/// Memory of a process that is in use (VmRSS of proc(5)).
pub(super) fn resident_octets(process: u32) -> anyhow::Result<u64> {
    figure(process, "VmRSS:")
}

fn figure(process: u32, name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line.with_context(|| format!("no {name}"))?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_seen_after_it_is_over() {
        const OCTETS: usize = 64 << 20;
        let memory = Memory::of(std::process::id()).unwrap();
        drop(std::hint::black_box(vec![1_u8; OCTETS]));
        assert!(memory.grown().unwrap() > OCTETS as u64 / 2, "{}", memory.grown().unwrap());
    }
}
