//! A numerical head: ellipsoids after Shepp and Logan (1974), in three dimensions, with the raised contrast of Toft (1996).

use super::random::Random;

/// One ellipsoid in a head that fills the cube from -1 to 1.
struct Ellipsoid {
    /// What it adds to the signal.
    signal: f64,
    /// Half axes.
    axes: [f64; 3],
    /// Centre.
    centre: [f64; 3],
    /// Rotation about the long axis, in degrees.
    degrees: f64,
}

const fn ellipsoid(signal: f64, axes: [f64; 3], centre: [f64; 3], degrees: f64) -> Ellipsoid {
    Ellipsoid { signal, axes, centre, degrees }
}

const HEAD: [Ellipsoid; 10] = [
    ellipsoid(1.0, [0.69, 0.92, 0.81], [0.0, 0.0, 0.0], 0.0),
    ellipsoid(-0.8, [0.6624, 0.874, 0.78], [0.0, -0.0184, 0.0], 0.0),
    ellipsoid(-0.2, [0.11, 0.31, 0.22], [0.22, 0.0, 0.0], -18.0),
    ellipsoid(-0.2, [0.16, 0.41, 0.28], [-0.22, 0.0, 0.0], 18.0),
    ellipsoid(0.1, [0.21, 0.25, 0.41], [0.0, 0.35, -0.15], 0.0),
    ellipsoid(0.1, [0.046, 0.046, 0.05], [0.0, 0.1, 0.25], 0.0),
    ellipsoid(0.1, [0.046, 0.046, 0.05], [0.0, -0.1, 0.25], 0.0),
    ellipsoid(0.1, [0.046, 0.023, 0.05], [-0.08, -0.605, 0.0], 0.0),
    ellipsoid(0.1, [0.023, 0.023, 0.02], [0.0, -0.606, 0.0], 0.0),
    ellipsoid(0.1, [0.023, 0.046, 0.02], [0.06, -0.605, 0.0], 0.0),
];

/// The largest value of a pixel: 12 bits stored.
pub const SIGNAL_MAX: u16 = 4095;
/// The pixel value of the strongest tissue.
const SIGNAL_SCALE: f64 = 2400.0;
/// Standard deviation of the noise, in pixel values.
const NOISE_DEVIATION: f64 = 18.0;

/// The slice at height `z` (from -1 to 1) as `matrix` rows of `matrix` pixels, with noise as a coil adds it: the
/// magnitude of a signal with noise in both channels (Rician).
#[must_use]
pub fn slice(matrix: u16, z: f64, random: &mut Random) -> Vec<u16> {
    let coordinate = |index: u16| (f64::from(index) + 0.5) / f64::from(matrix) * 2.0 - 1.0;
    let mut pixels = Vec::with_capacity(usize::from(matrix) * usize::from(matrix));
    for row in 0..matrix {
        for column in 0..matrix {
            let signal = signal_at([coordinate(column), -coordinate(row), z]) * SIGNAL_SCALE;
            let real = signal + noise(random);
            pixels.push(stored(real.hypot(noise(random))));
        }
    }
    pixels
}

fn signal_at(point: [f64; 3]) -> f64 {
    HEAD.iter().filter(|part| part.contains(point)).map(|part| part.signal).sum()
}

/// Triangular rather than normal: two draws a pixel are enough for noise, and a demo has half a million pixels.
fn noise(random: &mut Random) -> f64 {
    (random.unit() - random.unit()) * NOISE_DEVIATION * 6f64.sqrt()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 12 bits")]
fn stored(magnitude: f64) -> u16 {
    magnitude.round().clamp(0.0, f64::from(SIGNAL_MAX)) as u16
}

impl Ellipsoid {
    fn contains(&self, point: [f64; 3]) -> bool {
        let [x, y, z] = [0, 1, 2].map(|axis| point[axis] - self.centre[axis]);
        let (sin, cos) = self.degrees.to_radians().sin_cos();
        let turned = [x * cos + y * sin, y * cos - x * sin, z];
        (0..3).map(|axis| (turned[axis] / self.axes[axis]).powi(2)).sum::<f64>() <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_slice_has_air_skull_brain_and_ventricles() {
        let pixels = slice(64, 0.0, &mut Random::new(1));
        let at = |row: usize, column: usize| f64::from(pixels[row * 64 + column]);
        let air = at(1, 1);
        let skull = at(3, 32);
        let brain = at(52, 32);
        let ventricle = at(32, 25);
        assert!(air < 100.0 && ventricle < 150.0, "air {air}, ventricle {ventricle}");
        assert!(skull > 2000.0, "skull {skull}");
        assert!((300.0..900.0).contains(&brain), "brain {brain}");
    }

    #[test]
    fn the_crown_is_smaller_than_the_middle() {
        let tissue = |z| slice(64, z, &mut Random::new(1)).iter().filter(|&&pixel| pixel > 200).count();
        assert!(tissue(0.7) < tissue(0.0));
        assert_eq!(tissue(0.95), 0);
    }
}
