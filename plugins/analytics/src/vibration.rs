//! What the waveform of a vibration says of a bearing: a few numbers, each of which is then watched like any other sensor.
//!
//! A damaged place on a race is struck by each rolling element that passes, at a rate that follows from the geometry: 50 or 100
//! times a second, say. Each blow rings the machine at thousands of hertz. So the damage is seen not in the spectrum but in that of the
//! *envelope* of a band that rings (Randall and Antoni, "Rolling element bearing diagnostics", MSSP 25, 2011).

use serde::Deserialize;

use hilum_plugin::ConfigError;

use crate::fft::{Complex, Fourier};
use crate::telemetry::{NAME_CHARS_MAX, Waveform, is_name};

/// Samples of one waveform that are looked at; what is over is left out.
const SAMPLES_MAX: usize = 1 << 14;
/// With fewer nothing is said.
const SAMPLES_MIN: usize = 256;
/// Bands of one waveform.
const BANDS_MAX: usize = 8;
/// Multiples of a rate of blows that are looked at.
const HARMONICS: u32 = 3;
/// How far the rate may be off, for rolling elements slip.
const SLIP: f64 = 0.02;
/// Lines of the spectrum on each side that a line is compared with.
const NEIGHBOURS: usize = 24;
/// Name of the longest thing that is made of a waveform, with its point.
const SUFFIX_CHARS_MAX: usize = 9;

/// How the waveforms of one sensor are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waveforms {
    /// Its name in telemetry.
    pub sensor: String,
    /// Its unit; waveforms in another one are ignored.
    #[serde(default)]
    pub unit: Option<String>,
    /// Hertz, from and to: what is outside is filtered away before anything else is done. All of it where not given.
    #[serde(default)]
    pub pass_hz: Option<[f64; 2]>,
    /// Hertz, from and to, of each band whose root mean square becomes `SENSOR.band-1`, `SENSOR.band-2` and so on.
    #[serde(default)]
    pub bands_hz: Vec<[f64; 2]>,
    /// The band that rings when something is struck; where not given, what passes above an eighth of it.
    #[serde(default)]
    pub ringing_hz: Option<[f64; 2]>,
    /// Revolutions a second, where the record does not say.
    #[serde(default)]
    pub shaft_hz: Option<f64>,
    /// The bearing, if its damage is to be told apart.
    #[serde(default)]
    pub bearing: Option<Bearing>,
}

/// How often in a revolution of the shaft something passes something, as the bearing's data sheet has it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bearing {
    /// A rolling element passes a place of the outer race (BPFO).
    pub outer: f64,
    /// A rolling element passes a place of the inner race (BPFI).
    pub inner: f64,
    /// A rolling element turns (BSF).
    #[serde(default)]
    pub ball: Option<f64>,
    /// The cage turns (FTF).
    #[serde(default)]
    pub cage: Option<f64>,
}

impl Waveforms {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self, at: &str) -> Result<(), ConfigError> {
        let error = |below: &str, reason: String| Err(ConfigError::new(format!("{at}{below}"), reason));
        if !is_name(&self.sensor) || self.sensor.len() + SUFFIX_CHARS_MAX > NAME_CHARS_MAX {
            let max = NAME_CHARS_MAX - SUFFIX_CHARS_MAX;
            return error("/sensor", format!("give 1 to {max} letters, digits, `-`, `_`, `.` and `:`"));
        }
        if self.bands_hz.len() > BANDS_MAX {
            return error("/bands_hz", format!("give up to {BANDS_MAX} bands"));
        }
        let bands = [("/pass_hz", self.pass_hz), ("/ringing_hz", self.ringing_hz)];
        let bands = bands.into_iter().filter_map(|(at, band)| Some((at, band?)));
        for (at, [from, to]) in bands.chain(self.bands_hz.iter().map(|band| ("/bands_hz", *band))) {
            if !(from >= 0.0 && from < to && to <= 1e7) {
                return error(at, "give two frequencies in hertz, the lower one first".into());
            }
        }
        let bearing = self.bearing.iter().flat_map(Bearing::orders).map(|(_, order)| order);
        for number in bearing.chain(self.shaft_hz) {
            if !(number > 0.0 && number < 1e5) {
                return error(
                    "",
                    "`shaft_hz` and what `bearing` has are more than 0 and less than 100000".into(),
                );
            }
        }
        Ok(())
    }

    /// Makes numbers of a waveform: the end of each one's name, and its value. None of a waveform that is too short, or all zero.
    pub(crate) fn measure(&self, waveform: &Waveform) -> Vec<(String, f64)> {
        let Some(signal) = Signal::new(waveform, self.pass_hz) else { return Vec::new() };
        let mut numbers = signal.moments();
        for (index, band) in self.bands_hz.iter().enumerate() {
            numbers.push((format!("band-{}", index + 1), signal.band(*band)));
        }
        if let (Some(bearing), Some(shaft_hz)) = (&self.bearing, waveform.shaft_hz.or(self.shaft_hz)) {
            let highest = self.pass_hz.map_or(f64::INFINITY, |[_, to]| to).min(0.5 * waveform.rate_hz);
            let envelope = signal.envelope(self.ringing_hz.unwrap_or([highest / 8.0, highest]));
            numbers.extend(
                bearing.orders().map(|(name, order)| (name.to_owned(), envelope.blows(order * shaft_hz))),
            );
        }
        numbers.retain(|(_, value)| value.is_finite());
        numbers
    }
}

impl Bearing {
    fn orders(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let all = [
            ("outer", Some(self.outer)),
            ("inner", Some(self.inner)),
            ("ball", self.ball),
            ("cage", self.cage),
        ];
        all.into_iter().filter_map(|(name, order)| Some((name, order?)))
    }
}

/// A waveform and its spectrum.
struct Signal {
    fourier: Fourier,
    samples: Vec<f64>,
    spectrum: Vec<Complex>,
    /// Hertz from one line of the spectrum to the next.
    line_hz: f64,
}

impl Signal {
    fn new(waveform: &Waveform, pass_hz: Option<[f64; 2]>) -> Option<Self> {
        let available = waveform.samples.len().min(SAMPLES_MAX);
        if available < SAMPLES_MIN {
            return None;
        }
        // The largest power of two that there is.
        let length = 1 << available.ilog2();
        let samples = &waveform.samples[..length];
        let mean = samples.iter().map(|sample| f64::from(*sample)).sum::<f64>() / length as f64;
        let at = |sample: &f32| Complex { real: f64::from(*sample) - mean, imaginary: 0.0 };
        let mut spectrum: Vec<Complex> = samples.iter().map(at).collect();
        let fourier = Fourier::new(length);
        fourier.forward(&mut spectrum);
        let line_hz = waveform.rate_hz / length as f64;
        if let Some(band) = pass_hz {
            for (index, line) in spectrum.iter_mut().enumerate() {
                // The upper half mirrors the lower one.
                if !contains(band, index.min(length - index) as f64 * line_hz) {
                    *line = Complex::default();
                }
            }
        }
        let mut filtered = spectrum.clone();
        fourier.backward(&mut filtered);
        let samples: Vec<f64> = filtered.into_iter().map(|sample| sample.real).collect();
        let is_silent = samples.iter().all(|sample| sample.abs() < 1e-12);
        (!is_silent).then_some(Self { fourier, samples, spectrum, line_hz })
    }

    /// Root mean square; crest factor, the peak by that; kurtosis, which is 3 for noise and more for blows.
    fn moments(&self) -> Vec<(String, f64)> {
        let count = self.samples.len() as f64;
        let mean = |power: i32| self.samples.iter().map(|sample| sample.powi(power)).sum::<f64>() / count;
        let peak = self.samples.iter().fold(0.0, |peak: f64, sample| peak.max(sample.abs()));
        let square = mean(2);
        let numbers = [
            ("rms", square.sqrt()),
            ("crest", peak / square.sqrt()),
            ("kurtosis", mean(4) / (square * square)),
        ];
        numbers.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The root mean square of what is in a band.
    fn band(&self, band: [f64; 2]) -> f64 {
        let length = self.spectrum.len();
        let lines = self.spectrum[..length / 2].iter().enumerate();
        let inside = lines.filter(|(index, _)| contains(band, *index as f64 * self.line_hz));
        (2.0 * inside.map(|(_, line)| line.power()).sum::<f64>()).sqrt() / length as f64
    }

    /// The spectrum of how loud a band is from moment to moment (the absolute value of its analytic signal).
    fn envelope(&self, band: [f64; 2]) -> Envelope {
        let length = self.spectrum.len();
        let mut analytic = vec![Complex::default(); length];
        for (index, line) in self.spectrum[..length / 2].iter().enumerate() {
            if contains(band, index as f64 * self.line_hz) {
                analytic[index] = Complex { real: 2.0 * line.real, imaginary: 2.0 * line.imaginary };
            }
        }
        self.fourier.backward(&mut analytic);
        let loudness: Vec<f64> = analytic.iter().map(|sample| sample.power().sqrt()).collect();
        let mean = loudness.iter().sum::<f64>() / length as f64;
        let mut lines: Vec<Complex> = loudness
            .iter()
            .enumerate()
            .map(|(index, loudness)| {
                // Hann's window, or a strong line would leak over weak ones.
                let window = 0.5 - 0.5 * (std::f64::consts::TAU * index as f64 / length as f64).cos();
                Complex { real: window * (loudness - mean), imaginary: 0.0 }
            })
            .collect();
        self.fourier.forward(&mut lines);
        let lines = lines[..length / 2].iter().map(|line| line.power().sqrt()).collect();
        Envelope { lines, line_hz: self.line_hz }
    }
}

/// The spectrum of an envelope.
struct Envelope {
    lines: Vec<f64>,
    line_hz: f64,
}

impl Envelope {
    /// How far lines at a rate and its multiples stand out of those around them: about 2 where nothing strikes at that rate.
    fn blows(&self, rate_hz: f64) -> f64 {
        let harmonics = (1..=HARMONICS).filter_map(|harmonic| self.stands_out(rate_hz * f64::from(harmonic)));
        let (sum, count) = harmonics.fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio, count + 1.0));
        sum / count
    }

    /// The highest line near a frequency, by the median of its neighbours.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1 and bounded by the number of lines"
    )]
    fn stands_out(&self, frequency_hz: f64) -> Option<f64> {
        let centre = frequency_hz / self.line_hz;
        let reach = (centre * SLIP).max(1.0);
        let (first, last) = ((centre - reach).round().max(1.0), (centre + reach).round());
        if last + 1.0 > self.lines.len() as f64 {
            return None;
        }
        let (first, last) = (first as usize, last as usize);
        let highest = self.lines[first..=last].iter().copied().fold(0.0, f64::max);
        // The main lobe of Hann's window is two lines wide on each side.
        let below = &self.lines[1..first.saturating_sub(1).max(1)];
        let above = self.lines.get(last + 2..).unwrap_or_default();
        let below = below.iter().rev().take(NEIGHBOURS);
        let mut around: Vec<f64> = below.chain(above.iter().take(NEIGHBOURS)).copied().collect();
        around.sort_unstable_by(f64::total_cmp);
        let median = around.get(around.len() / 2).copied().filter(|median| *median > 0.0)?;
        Some(highest / median)
    }
}

fn contains([from, to]: [f64; 2], frequency_hz: f64) -> bool {
    frequency_hz >= from && frequency_hz < to
}

#[cfg(test)]
mod tests;
