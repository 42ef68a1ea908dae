//! The discrete Fourier transform of a power of two of samples: Cooley and Tukey's, radix 2, in place.

use std::f64::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A complex number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Complex {
    pub(crate) real: f64,
    pub(crate) imaginary: f64,
}

impl Complex {
    /// The square of its absolute value.
    pub(crate) fn power(self) -> f64 {
        self.real * self.real + self.imaginary * self.imaginary
    }
}

impl Add for Complex {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { real: self.real + other.real, imaginary: self.imaginary + other.imaginary }
    }
}

impl Sub for Complex {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { real: self.real - other.real, imaginary: self.imaginary - other.imaginary }
    }
}

impl Mul for Complex {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            real: self.real * other.real - self.imaginary * other.imaginary,
            imaginary: self.real * other.imaginary + self.imaginary * other.real,
        }
    }
}

/// The transform of some length, with its factors made once.
pub(crate) struct Fourier {
    /// exp(-2 pi i k / length) for the first half of k.
    factors: Vec<Complex>,
}

impl Fourier {
    /// For `length` values, which has to be a power of two.
    pub(crate) fn new(length: usize) -> Self {
        debug_assert!(length.is_power_of_two());
        let factor = |index: usize| {
            let (imaginary, real) = (-TAU * index as f64 / length as f64).sin_cos();
            Complex { real, imaginary }
        };
        Self { factors: (0..length / 2).map(factor).collect() }
    }

    /// X(k) = sum over n of x(n) exp(-2 pi i k n / N), in place.
    pub(crate) fn forward(&self, values: &mut [Complex]) {
        let length = values.len();
        debug_assert_eq!(length / 2, self.factors.len());
        reorder(values);
        let mut half = 1;
        while half < length {
            let stride = length / (2 * half);
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                let factors = self.factors.iter().step_by(stride);
                for ((low, high), factor) in low.iter_mut().zip(high).zip(factors) {
                    let turned = *high * *factor;
                    *high = *low - turned;
                    *low = *low + turned;
                }
            }
            half *= 2;
        }
    }

    /// The inverse of [`Fourier::forward`].
    pub(crate) fn backward(&self, values: &mut [Complex]) {
        let scale = 1.0 / values.len() as f64;
        // The inverse is the transform of the conjugate, conjugated.
        values.iter_mut().for_each(|value| value.imaginary = -value.imaginary);
        self.forward(values);
        for value in values {
            *value = Complex { real: value.real * scale, imaginary: -value.imaginary * scale };
        }
    }
}

/// Puts each value where the reversed bits of its index say.
fn reorder(values: &mut [Complex]) {
    let bits = values.len().trailing_zeros();
    if bits == 0 {
        return;
    }
    for index in 0..values.len() {
        let other = index.reverse_bits() >> (usize::BITS - bits);
        if index < other {
            values.swap(index, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Noise;

    fn noise(length: usize) -> Vec<Complex> {
        let mut noise = Noise::new(1);
        (0..length).map(|_| Complex { real: noise.normal(), imaginary: noise.normal() }).collect()
    }

    #[test]
    fn it_is_the_sum_of_its_definition() {
        for length in [1, 2, 4, 16, 64] {
            let values = noise(length);
            let mut transformed = values.clone();
            Fourier::new(length).forward(&mut transformed);
            for (index, found) in transformed.into_iter().enumerate() {
                let mut sum = Complex::default();
                for (at, value) in values.iter().enumerate() {
                    let (imaginary, real) = (-TAU * (index * at) as f64 / length as f64).sin_cos();
                    sum = sum + *value * Complex { real, imaginary };
                }
                assert!((sum - found).power() < 1e-18, "{length}, {index}");
            }
        }
    }

    #[test]
    fn backward_brings_back_what_was() {
        let values = noise(1024);
        let fourier = Fourier::new(1024);
        let mut there = values.clone();
        fourier.forward(&mut there);
        fourier.backward(&mut there);
        assert!(values.iter().zip(there).all(|(one, other)| (*one - other).power() < 1e-20));
    }
}
