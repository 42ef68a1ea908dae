//! A small deterministic generator (SplitMix64), so that a seed is all there is to a run.
//!
//! It is for making up data, never for keys.

/// A stream of numbers that a seed decides.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream of its own for one purpose, so that adding a draw to one does not change another.
    #[must_use]
    pub fn fork(&self, purpose: u64) -> Self {
        let mut fork = Self::new(self.state ^ purpose.wrapping_mul(0xA076_1D64_78BD_642F));
        fork.bits();
        fork
    }

    /// The next 64 bits (Steele, Lea and Flood, 2014).
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not including, `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    /// A number from 0.0 up to, but not including, 1.0.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number around 0 with standard deviation 1, by the sum of twelve uniform ones (Irwin–Hall).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// One of `choices`, which has at least one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(choices.len() as u64)).expect("below a length");
        &choices[index]
    }

    /// `count` decimal digits, the first of them not 0.
    pub fn digits(&mut self, count: usize) -> String {
        let digit = |index: usize, bits: u64| if index == 0 { 1 + bits % 9 } else { bits % 10 };
        (0..count).map(|index| digit(index, self.bits()).to_string()).collect()
    }

    /// A UID made from a UUID (DICOM PS3.5 B.2).
    pub fn uid(&mut self) -> String {
        let uuid = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        format!("2.25.{uuid}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_stream_and_forks_differ() {
        let draw = |mut random: Random| [random.bits(), random.bits(), random.bits()];
        assert_eq!(draw(Random::new(1)), draw(Random::new(1)));
        assert_ne!(draw(Random::new(1)), draw(Random::new(2)));
        assert_ne!(draw(Random::new(1).fork(1)), draw(Random::new(1).fork(2)));
    }

    #[test]
    fn the_normal_stream_has_mean_zero_and_deviation_one() {
        let mut random = Random::new(7);
        let draws: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
