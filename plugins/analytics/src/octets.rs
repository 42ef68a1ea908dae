//! State as octets: small numbers, and IEEE 754 doubles, little-endian. What makes no sense is not read.

/// What is written one after the other.
#[derive(Debug, Default)]
pub(crate) struct Octets(Vec<u8>);

impl Octets {
    pub(crate) fn small(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(crate) fn number(&mut self, number: f64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn some(&mut self, octets: &[u8]) {
        self.0.extend(octets);
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

/// The same, read from the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn small(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A double, which is neither infinite nor not a number.
    pub(crate) fn number(&mut self) -> Option<f64> {
        let octets = self.some(8)?;
        let number = f64::from_le_bytes(octets.try_into().ok()?);
        number.is_finite().then_some(number)
    }

    pub(crate) fn some(&mut self, count: usize) -> Option<&'a [u8]> {
        let (some, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(some)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}
