//! Goes through the lines of a scan of JPEG-LS (ITU-T T.87 A.3 to A.7 and B): sample by sample, and by runs where it is flat. One way for
//! reading and writing, so that both learn the same.

use super::Malformed;
use super::bits::Coder;
use super::model::{Model, Parameters};

/// How many bits the length of a run has, by how many long runs there were (A.7.1.1).
const RUN_BITS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// A scan on its way.
pub(super) struct Scan<'c, C> {
    coder: &'c mut C,
    parameters: Parameters,
    model: Model,
    /// Samples of a pixel that are coded together (sample interleave), or 1.
    width: usize,
}

/// One line of samples, and the one above it, with a pixel before and one behind.
pub(super) struct Lines {
    above: Vec<i32>,
    pub(super) line: Vec<i32>,
    width: usize,
    run_index: usize,
}

/// The samples around the one that is coded: before it, above it, and before and behind that (Figure A.1).
struct Neighbours {
    left: i32,
    above: i32,
    corner: i32,
    behind: i32,
}

impl Neighbours {
    fn gradients(&self) -> [i32; 3] {
        [self.behind - self.above, self.above - self.corner, self.corner - self.left]
    }

    /// A.4.1.
    fn predicted(&self) -> i32 {
        let (least, most) = (self.left.min(self.above), self.left.max(self.above));
        if self.corner >= most {
            least
        } else if self.corner <= least {
            most
        } else {
            self.left + self.above - self.corner
        }
    }
}

impl Lines {
    /// Lines of pixels with so many samples.
    pub(super) fn new(columns: usize, width: usize) -> Lines {
        let empty = vec![0; (columns + 2) * width];
        Lines { above: empty.clone(), line: empty, width, run_index: 0 }
    }

    /// The samples of the line.
    pub(super) fn samples(&mut self) -> &mut [i32] {
        let end = self.line.len() - self.width;
        &mut self.line[self.width..end]
    }

    /// Begins the next line.
    pub(super) fn advance(&mut self) {
        std::mem::swap(&mut self.above, &mut self.line);
        let (width, end) = (self.width, self.above.len());
        // Before the line is what is above its first pixel, behind the one above what is last in it.
        self.line[..width].copy_from_slice(&self.above[width..2 * width]);
        self.above.copy_within(end - 2 * width..end - width, end - width);
    }

    fn around(&self, at: usize) -> Neighbours {
        Neighbours {
            left: self.line[at - self.width],
            above: self.above[at],
            corner: self.above[at - self.width],
            behind: self.above[at + self.width],
        }
    }
}

impl<'c, C: Coder> Scan<'c, C> {
    pub(super) fn new(coder: &'c mut C, parameters: Parameters, width: usize) -> Scan<'c, C> {
        Scan { coder, parameters, model: Model::new(&parameters), width }
    }

    /// Codes a line, after [`Lines::advance`]. Who writes has put its samples there; who reads finds them.
    pub(super) fn line(&mut self, lines: &mut Lines) -> Result<(), Malformed> {
        let width = self.width;
        let end = lines.line.len() - width;
        let mut at = width;
        while at < end {
            let mut contexts = [0; 3];
            for (sample, context) in contexts.iter_mut().enumerate().take(width) {
                *context = self.parameters.context(lines.around(at + sample).gradients());
            }
            if contexts == [0; 3] {
                at = self.run(lines, at, end)?;
            } else {
                for (sample, context) in contexts.into_iter().enumerate().take(width) {
                    self.regular(lines, at + sample, context)?;
                }
                at += width;
            }
        }
        Ok(())
    }

    fn regular(&mut self, lines: &mut Lines, at: usize, context: i32) -> Result<(), Malformed> {
        let Scan { parameters, model, .. } = self;
        let sign = if context < 0 { -1 } else { 1 };
        let context = context.unsigned_abs() as usize;
        let (correction, k) = model.regular(context);
        let predicted = (lines.around(at).predicted() + sign * correction).clamp(0, parameters.most);
        let known = || {
            let error = parameters.error(sign * (lines.line[at] - predicted));
            model.number_of(context, k, parameters.near, error)
        };
        let number = self.coder.number(k, (parameters.limit, parameters.long), known)?;
        let error = model.error_of(context, k, parameters.near, parameters.check(number)?);
        model.learn(context, parameters, error);
        lines.line[at] = parameters.sample(predicted, sign * error);
        Ok(())
    }

    /// Codes pixels that are as the one before them, and the one that is not; returns where that ends.
    fn run(&mut self, lines: &mut Lines, start: usize, end: usize) -> Result<usize, Malformed> {
        let width = self.width;
        let pixels = (end - start) / width;
        let (before, rest) = lines.line.split_at_mut(start);
        let pixel = &before[start - width..];
        let known = self
            .coder
            .known(|| rest[..end - start].chunks_exact(width).take_while(|next| *next == pixel).count());
        let mut run = 0;
        let is_whole = loop {
            let bits = RUN_BITS[lines.run_index];
            let step = 1 << bits;
            let goes_on = || known.is_some_and(|known| known - run >= step || known == pixels);
            if self.coder.bits(1, || goes_on().into())? == 1 {
                let went = step.min(pixels - run);
                run += went;
                if went == step {
                    lines.run_index = (lines.run_index + 1).min(RUN_BITS.len() - 1);
                }
                if run == pixels {
                    break true;
                }
            } else {
                let left = || known.and_then(|known| u32::try_from(known - run).ok()).unwrap_or(0);
                run += self.coder.bits(bits, left)? as usize;
                if run >= pixels {
                    return Err(Malformed("a run is longer than its line"));
                }
                break false;
            }
        };
        for next in rest[..run * width].chunks_exact_mut(width) {
            next.copy_from_slice(pixel);
        }
        if is_whole {
            return Ok(end);
        }
        let at = start + run * width;
        for sample in at..at + width {
            self.run_end(lines, sample)?;
        }
        lines.run_index = lines.run_index.saturating_sub(1);
        Ok(at + width)
    }

    /// Codes a sample that ends a run (A.7.2).
    fn run_end(&mut self, lines: &mut Lines, at: usize) -> Result<(), Malformed> {
        let Scan { parameters, model, width, .. } = self;
        let Neighbours { left, above, .. } = lines.around(at);
        // Where samples are coded together, what is level in one of them need not be so in the others.
        let is_level = *width == 1 && (left - above).abs() <= parameters.near;
        let (predicted, sign) = if is_level { (left, 1) } else { (above, if above < left { -1 } else { 1 }) };
        let k = model.run(is_level);
        let known = || {
            let error = parameters.error(sign * (lines.line[at] - predicted));
            model.run_number_of(is_level, k, error)
        };
        let limit = parameters.limit - RUN_BITS[lines.run_index] - 1;
        let number = parameters.check(self.coder.number(k, (limit, parameters.long), known)?)?;
        let error = model.run_error_of(is_level, k, number);
        model.learn_run(is_level, parameters, error, number);
        lines.line[at] = parameters.sample(predicted, sign * error);
        Ok(())
    }
}
