//! State as octets, little-endian. What makes no sense is not read.

/// What is written one after the other.
#[derive(Debug, Default)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl Octets {
    pub(crate) fn whole(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn real(&mut self, number: f64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn some(&mut self, octets: &[u8]) {
        self.0.extend(octets);
    }
}

/// The same, read from the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn whole(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.some(8)?.try_into().ok()?))
    }

    /// A double, which is neither infinite nor not a number.
    pub(crate) fn real(&mut self) -> Option<f64> {
        let number = f64::from_le_bytes(self.some(8)?.try_into().ok()?);
        number.is_finite().then_some(number)
    }

    pub(crate) fn some(&mut self, count: usize) -> Option<&'a [u8]> {
        let (some, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(some)
    }
}

/// FNV-1a of 64 bits, over parts that cannot run into each other.
pub(crate) fn fnv1a(parts: &[&str]) -> u64 {
    let octets = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    octets.fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
