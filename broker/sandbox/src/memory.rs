//! What a component declares of its linear memory, without running it.

use wasmparser::{Parser, Payload};

/// Octets of a page (WebAssembly core specification, 4.2.8).
const PAGE_OCTETS: u64 = 65_536;

/// The linear memory that the modules of a component declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredMemory {
    /// Octets that an instance has when it starts.
    pub initial_octets: u64,
    /// Octets that it may grow to by its own word; none where only the stage's limit holds it.
    pub maximum_octets: Option<u64>,
}

/// Reads the memory sections of all modules of a component; none where it has no memory or is no WebAssembly.
#[must_use]
pub fn declared_memory(component: &[u8]) -> Option<DeclaredMemory> {
    let mut found: Option<DeclaredMemory> = None;
    for payload in Parser::new(0).parse_all(component) {
        let Ok(Payload::MemorySection(memories)) = payload else {
            payload.ok()?;
            continue;
        };
        for memory in memories {
            let memory = memory.ok()?;
            let page = memory.page_size_log2.map_or(PAGE_OCTETS, |log2| 1_u64.checked_shl(log2).unwrap_or(0));
            let initial_octets = memory.initial.saturating_mul(page);
            let maximum_octets = memory.maximum.map(|maximum| maximum.saturating_mul(page));
            found = Some(match found {
                None => DeclaredMemory { initial_octets, maximum_octets },
                Some(before) => DeclaredMemory {
                    initial_octets: before.initial_octets.saturating_add(initial_octets),
                    maximum_octets: before
                        .maximum_octets
                        .zip(maximum_octets)
                        .map(|(a, b)| a.saturating_add(b)),
                },
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_in_octets() {
        // A module whose memory section has one memory of 2 to 5 pages, and one of 3 pages without an upper bound.
        let bounded = b"\0asm\x01\0\0\0\x05\x04\x01\x01\x02\x05";
        let memory = DeclaredMemory { initial_octets: 131_072, maximum_octets: Some(327_680) };
        assert_eq!(declared_memory(bounded), Some(memory));
        let open = b"\0asm\x01\0\0\0\x05\x03\x01\0\x03";
        assert_eq!(declared_memory(open).unwrap().maximum_octets, None);
    }

    #[test]
    fn what_is_cut_off_or_has_no_memory_declares_none() {
        assert_eq!(declared_memory(b"\0asm\x01\0\0\0"), None);
        assert_eq!(declared_memory(b"\0asm\x01\0\0\0\x05\x04\x01"), None);
        assert_eq!(declared_memory(b"no module"), None);
    }
}
