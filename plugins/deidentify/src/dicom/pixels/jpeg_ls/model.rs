//! What JPEG-LS learns of an image while it goes through it (ITU-T T.87 A.2 to A.7): how far predictions are off, context by context.

use super::Malformed;

/// Contexts of gradients, by their absolute value (A.3.4).
const CONTEXTS: usize = 365;
/// How far a correction of predictions goes (A.6.2).
const CORRECTION: std::ops::RangeInclusive<i32> = -128..=127;

/// What a scan is coded by, as its header and an LSE segment say (C.2.4.1.1), with what follows from it (A.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The largest sample.
    pub(super) most: i32,
    /// How far samples may be off.
    pub(super) near: i32,
    thresholds: [i32; 3],
    reset: i32,
    /// How many errors of prediction there are, and the bits of one.
    range: i32,
    pub(super) long: u32,
    /// Bits of the longest code.
    pub(super) limit: u32,
}

/// An LSE segment that sets parameters: the largest sample, three thresholds and after how many samples to halve; 0 is the default.
pub(super) type Preset = [u16; 5];

impl Parameters {
    pub(super) fn new(precision: u8, near: u8, preset: Preset) -> Result<Parameters, Malformed> {
        let [most, given @ .., reset] = preset.map(i32::from);
        let highest = (1 << precision) - 1;
        let near = i32::from(near);
        let most = if most == 0 { highest } else { most };
        let reset = if reset == 0 { 64 } else { reset };
        let mut thresholds = default_thresholds(most, near);
        for (threshold, given) in thresholds.iter_mut().zip(given).filter(|(_, given)| *given > 0) {
            *threshold = given;
        }
        let in_order = thresholds[0] > near && thresholds.is_sorted() && thresholds[2] <= most;
        if most > highest || near > most / 2 || !in_order || !(3..=255).contains(&reset) {
            return Err(Malformed("the parameters of a scan are none that are known"));
        }
        let step = 2 * near + 1;
        let range = (most + 2 * near) / step + 1;
        let bits = |values: i32| 32 - (values - 1).leading_zeros();
        let sample = bits(most + 1).max(2);
        Ok(Parameters {
            most,
            near,
            thresholds,
            reset,
            range,
            long: bits(range),
            limit: 2 * (sample + sample.max(8)),
        })
    }

    /// What an LSE segment says of them.
    pub(super) fn preset(&self) -> Preset {
        let [one, two, three] = self.thresholds;
        [self.most, one, two, three, self.reset]
            .map(|number| u16::try_from(number).expect("a sample has at most 16 bits"))
    }

    /// The context of three gradients: 0 in a flat place. Below 0, everything is mirrored (A.3.3 and A.3.4).
    pub(super) fn context(&self, gradients: [i32; 3]) -> i32 {
        let [one, two, three] = self.thresholds;
        let quantized = |gradient: i32| {
            let size = gradient.abs();
            let number = if size <= self.near {
                0
            } else {
                1 + i32::from(size >= one) + i32::from(size >= two) + i32::from(size >= three)
            };
            number * gradient.signum()
        };
        gradients.into_iter().fold(0, |context, gradient| context * 9 + quantized(gradient))
    }

    /// An error of a prediction of a sample that is known, as small as it can be (A.4.5). Nothing is coded with loss here.
    pub(super) fn error(&self, off: i32) -> i32 {
        debug_assert!(self.near == 0, "what is near is only decoded");
        let off = if off < 0 { off + self.range } else { off };
        if off >= (self.range + 1) / 2 { off - self.range } else { off }
    }

    /// The sample that a prediction and its error make (A.4.4 and A.4.5).
    pub(super) fn sample(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let sample = predicted + error * step;
        let sample = if sample < -self.near {
            sample + self.range * step
        } else if sample > self.most + self.near {
            sample - self.range * step
        } else {
            sample
        };
        sample.clamp(0, self.most)
    }

    /// Holds a number that was read against how large an error can be.
    pub(super) fn check(&self, number: u32) -> Result<i32, Malformed> {
        let number = i32::try_from(number).ok().filter(|number| *number <= self.range + 1);
        number.ok_or(Malformed("a prediction is off by more than can be"))
    }
}

/// Thresholds where nothing is said of them (C.2.4.1.1.1).
fn default_thresholds(most: i32, near: i32) -> [i32; 3] {
    let basic = [(3, 2, 3), (7, 3, 5), (21, 4, 7)];
    let mut least = near + 1;
    basic.map(|(basic, lowest, by_near)| {
        let threshold = if most >= 128 {
            let factor = (most.min(4095) + 128) / 256;
            factor * (basic - lowest) + lowest + by_near * near
        } else {
            let factor = 256 / (most + 1);
            (basic / factor + by_near * near).max(lowest)
        };
        let threshold = if threshold > most || threshold < least { least } else { threshold };
        least = threshold;
        threshold
    })
}

/// What is known of errors in one context (A.6).
#[derive(Clone, Copy)]
struct Context {
    /// The sum of their sizes.
    size: i32,
    /// Their sum, less what the correction has taken of it.
    sum: i32,
    correction: i32,
    count: i32,
}

/// What is known of errors at the end of a run (A.7.2).
#[derive(Clone, Copy)]
struct RunContext {
    size: i32,
    count: i32,
    negative: i32,
}

/// What was learnt in a scan so far.
pub(super) struct Model {
    contexts: Vec<Context>,
    /// Those where what is above differs from what is before, and those where it does not.
    runs: [RunContext; 2],
}

/// How many low bits a code should have (A.5.1).
fn low_bits(size: i32, count: i32) -> u32 {
    let mut k = 0;
    while k < 24 && count << k < size {
        k += 1;
    }
    k
}

impl Model {
    pub(super) fn new(parameters: &Parameters) -> Model {
        let size = ((parameters.range + 32) / 64).max(2);
        Model {
            contexts: vec![Context { size, sum: 0, correction: 0, count: 1 }; CONTEXTS],
            runs: [RunContext { size, count: 1, negative: 0 }; 2],
        }
    }

    /// What to add to predictions in a context, and how many low bits the code of an error there has.
    pub(super) fn regular(&self, context: usize) -> (i32, u32) {
        let Context { size, correction, count, .. } = self.contexts[context];
        (correction, low_bits(size, count))
    }

    /// The number that is written for an error in a context (A.5.2).
    pub(super) fn number_of(&self, context: usize, k: u32, near: i32, error: i32) -> u32 {
        let number = if self.is_turned(context, k, near) {
            if error >= 0 { 2 * error + 1 } else { -2 * (error + 1) }
        } else if error >= 0 {
            2 * error
        } else {
            -2 * error - 1
        };
        number.unsigned_abs()
    }

    /// The error for which a number is written.
    pub(super) fn error_of(&self, context: usize, k: u32, near: i32, number: i32) -> i32 {
        let is_odd = number % 2 == 1;
        match (self.is_turned(context, k, near), is_odd) {
            (false, false) => number / 2,
            (false, true) => -(number + 1) / 2,
            (true, true) => number / 2,
            (true, false) => -number / 2 - 1,
        }
    }

    fn is_turned(&self, context: usize, k: u32, near: i32) -> bool {
        let Context { sum, count, .. } = self.contexts[context];
        near == 0 && k == 0 && 2 * sum <= -count
    }

    /// Learns from an error (A.6.1 and A.6.2).
    pub(super) fn learn(&mut self, context: usize, parameters: &Parameters, error: i32) {
        let Context { size, sum, correction, count } = &mut self.contexts[context];
        *size += error.abs();
        *sum += error * (2 * parameters.near + 1);
        if *count == parameters.reset {
            *size >>= 1;
            *sum >>= 1;
            *count >>= 1;
        }
        *count += 1;
        if *sum <= -*count {
            *sum = (*sum + *count).max(1 - *count);
            *correction = (*correction - 1).max(*CORRECTION.start());
        } else if *sum > 0 {
            *sum = (*sum - *count).min(0);
            *correction = (*correction + 1).min(*CORRECTION.end());
        }
    }

    /// How many low bits the code of the error at the end of a run has.
    pub(super) fn run(&self, is_level: bool) -> u32 {
        let RunContext { size, count, .. } = self.runs[usize::from(is_level)];
        low_bits(size + if is_level { count >> 1 } else { 0 }, count)
    }

    /// The number that is written for the error at the end of a run (A.7.2).
    pub(super) fn run_number_of(&self, is_level: bool, k: u32, error: i32) -> u32 {
        let is_odd = match error.signum() {
            0 => false,
            1 => !self.is_often_negative(is_level, k),
            _ => self.is_often_negative(is_level, k),
        };
        let number = 2 * error.abs() - i32::from(is_level) - i32::from(is_odd);
        number.unsigned_abs()
    }

    /// The error for which a number is written at the end of a run.
    pub(super) fn run_error_of(&self, is_level: bool, k: u32, number: i32) -> i32 {
        let number = number + i32::from(is_level);
        let is_odd = number % 2 == 1;
        let size = (number + i32::from(is_odd)) / 2;
        if self.is_often_negative(is_level, k) == is_odd { -size } else { size }
    }

    /// Whether a negative error has the odd number: not where most of them were positive and numbers have no low bits.
    fn is_often_negative(&self, is_level: bool, k: u32) -> bool {
        let RunContext { count, negative, .. } = self.runs[usize::from(is_level)];
        k != 0 || 2 * negative >= count
    }

    /// Learns from the error at the end of a run, and its number.
    pub(super) fn learn_run(&mut self, is_level: bool, parameters: &Parameters, error: i32, number: i32) {
        let RunContext { size, count, negative } = &mut self.runs[usize::from(is_level)];
        *negative += i32::from(error < 0);
        *size += (number + 1 - i32::from(is_level)) >> 1;
        if *count == parameters.reset {
            *size >>= 1;
            *count >>= 1;
            *negative >>= 1;
        }
        *count += 1;
    }
}
