//! Looks for what is like text in a picture: marks of one height that stand on one line, near to each other.
//!
//! Nothing is read, and nothing is learnt from examples. The picture is cut into ink and paper at three shades, ink bright and ink dark;
//! ink that hangs together is a mark. A row of [`MARKS_MIN`] marks is a reason to doubt, and so is now and then noise without any grain. That
//! none is found is no proof: words that touch the tissue behind them, that lean, or that are of fewer marks are not seen.

use super::picture::Picture;

/// Marks of a row.
const MARKS_MIN: usize = 4;
/// Shades from which on a pixel is ink.
const SHADES: [u8; 3] = [100, 160, 220];
/// How high a mark may be, in pixels.
const HEIGHT: std::ops::RangeInclusive<usize> = 5..=64;
/// Marks that are kept, and how many pairs of them are compared: a picture of nothing but marks is not looked at to its end.
const KEPT_MAX: usize = 1 << 16;
const PAIRS_MAX: usize = 1 << 23;

/// Ink that hangs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    pixels: usize,
}

/// Ink of a row, and which mark it is of.
#[derive(Clone, Copy)]
struct Run {
    left: usize,
    right: usize,
    mark: usize,
}

/// Whether there is something like text in a picture.
pub(super) fn is_likely(picture: &Picture) -> bool {
    let mut counts = [0usize; 256];
    picture.shades.iter().for_each(|shade| counts[usize::from(*shade)] += 1);
    SHADES.iter().any(|shade| {
        let bright = is_row_of(marks(picture, |pixel| pixel >= *shade));
        // Where most is dark, what is dark is the paper.
        let dark: usize = counts[..=usize::from(255 - shade)].iter().sum();
        bright || dark * 2 <= picture.shades.len() && is_row_of(marks(picture, |pixel| pixel <= 255 - shade))
    })
}

impl Mark {
    fn width(&self) -> usize {
        self.right - self.left
    }

    fn height(&self) -> usize {
        self.bottom - self.top
    }

    /// Whether it could be a letter: not a dot, a rule, a frame or a cloud.
    fn is_letter(&self) -> bool {
        let (width, height) = (self.width(), self.height());
        HEIGHT.contains(&height)
            && width > 1
            && width * 5 <= height * 8 + 10
            && self.pixels * 25 >= width * height * 3
    }

    fn join(&mut self, other: Mark) {
        self.left = self.left.min(other.left);
        self.top = self.top.min(other.top);
        self.right = self.right.max(other.right);
        self.bottom = self.bottom.max(other.bottom);
        self.pixels += other.pixels;
    }
}

/// Whether some of the marks are a row.
fn is_row_of(mut marks: Vec<Mark>) -> bool {
    marks.sort_unstable_by_key(|mark| (mark.left, mark.top));
    let mut pairs = 0;
    for (index, first) in marks.iter().enumerate() {
        let height = first.height();
        let (mut last, mut count) = (first, 1);
        for next in &marks[index + 1..] {
            pairs += 1;
            if pairs > PAIRS_MAX || next.left > last.right + height * 6 / 5 {
                break;
            }
            let is_after = next.left + 1 >= last.right;
            let is_on_line = next.bottom.abs_diff(first.bottom) <= (height / 8).max(1);
            let is_as_high = next.height().abs_diff(height) <= (height / 4).max(1);
            if is_after && is_on_line && is_as_high {
                (last, count) = (next, count + 1);
                if count == MARKS_MIN {
                    return true;
                }
            }
        }
    }
    false
}

/// The marks that could be letters. Only those that the row before reaches are held while they grow.
fn marks(picture: &Picture, is_ink: impl Fn(u8) -> bool) -> Vec<Mark> {
    let mut letters = Vec::new();
    let mut above: Vec<Run> = Vec::new();
    let mut open: Vec<Mark> = Vec::new();
    for (top, row) in picture.shades.chunks(picture.columns.max(1) as usize).enumerate() {
        let known = open.len();
        let mut runs = runs(row, &is_ink);
        for (index, run) in runs.iter_mut().enumerate() {
            run.mark = known + index;
            let (left, right) = (run.left, run.right);
            open.push(Mark { left, top, right, bottom: top + 1, pixels: right - left });
        }
        let roots = roots(&above, &runs, open.len());
        for mark in 0..open.len() {
            if roots[mark] != mark {
                let other = open[mark];
                open[roots[mark]].join(other);
            }
        }
        let mut names = vec![None; open.len()];
        let mut growing = Vec::with_capacity(runs.len());
        for run in &mut runs {
            let root = roots[run.mark];
            run.mark = *names[root].get_or_insert_with(|| {
                growing.push(open[root]);
                growing.len() - 1
            });
        }
        letters.extend(ended(&open[..known], &roots, &names));
        if letters.len() > KEPT_MAX {
            return letters;
        }
        (above, open) = (runs, growing);
    }
    letters.extend(open.into_iter().filter(Mark::is_letter));
    letters
}

/// Marks of the rows before that nothing in this row is of, if they could be letters.
fn ended<'m>(
    known: &'m [Mark],
    roots: &'m [usize],
    names: &'m [Option<usize>],
) -> impl Iterator<Item = Mark> + 'm {
    let is_over = |index: &usize| roots[*index] == *index && names[*index].is_none();
    (0..known.len()).filter(is_over).map(|index| known[index]).filter(Mark::is_letter)
}

/// The ink of a row.
fn runs(row: &[u8], is_ink: &impl Fn(u8) -> bool) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(gap) = row[at..].iter().position(|shade| is_ink(*shade)) {
        let left = at + gap;
        at = row[left..].iter().position(|shade| !is_ink(*shade)).map_or(row.len(), |ink| left + ink);
        runs.push(Run { left, right: at, mark: 0 });
    }
    runs
}

/// Which mark each mark is part of, since runs touch those above them, at corners too. The one with the lowest number stands for all.
fn roots(above: &[Run], runs: &[Run], marks: usize) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..marks).collect();
    let mut first = 0;
    for run in runs {
        while above.get(first).is_some_and(|other| other.right < run.left) {
            first += 1;
        }
        for other in above[first..].iter().take_while(|other| other.left <= run.right) {
            let (a, b) = (root(&mut parents, other.mark), root(&mut parents, run.mark));
            parents[a.max(b)] = a.min(b);
        }
    }
    (0..marks).map(|mark| root(&mut parents, mark)).collect()
}

fn root(parents: &mut [usize], mut mark: usize) -> usize {
    while parents[mark] != mark {
        parents[mark] = parents[parents[mark]];
        mark = parents[mark];
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters of five by seven pixels.
    const LETTERS: [[&str; 7]; 5] = [
        ["####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."],
        [".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."],
        ["#####", "#....", "#....", "####.", "#....", "#....", "#####"],
        ["..#..", ".##..", "..#..", "..#..", "..#..", "..#..", ".###."],
        ["..#..", ".#.#.", "#...#", "#####", "#...#", "#...#", "#...#"],
    ];

    fn paper(columns: u32, rows: u32, shade: u8) -> Picture {
        Picture { columns, shades: vec![shade; (columns * rows) as usize] }
    }

    /// Writes letters, each so many times as large.
    fn write(picture: &mut Picture, (left, top): (usize, usize), letters: &[usize], size: usize, ink: u8) {
        for (place, letter) in letters.iter().enumerate() {
            for (row, line) in LETTERS[*letter].iter().enumerate() {
                for (column, _) in line.bytes().enumerate().filter(|(_, dot)| *dot == b'#') {
                    for dot in 0..size * size {
                        let x = left + (place * 6 + column) * size + dot % size;
                        let y = top + row * size + dot / size;
                        picture.shades[y * picture.columns as usize + x] = ink;
                    }
                }
            }
        }
    }

    fn noise(picture: &mut Picture, amplitude: u32, smooth: u32) {
        let mut state = 99u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % amplitude
        };
        for at in 0..picture.shades.len() {
            let sum: u32 = (0..smooth).map(|_| next()).sum();
            picture.shades[at] = picture.shades[at].saturating_add(u8::try_from(sum / smooth).unwrap());
        }
    }

    #[test]
    fn words_are_seen_in_many_sizes_bright_and_dark() {
        for size in 1..=9 {
            for (shade, ink) in [(0, 255), (0, 120), (255, 0), (200, 20), (40, 230)] {
                let mut picture = paper(400, 120, shade);
                write(&mut picture, (20, 30), &[0, 1, 2, 3, 4], size, ink);
                assert!(is_likely(&picture), "{size} {shade} {ink}");
            }
        }
    }

    #[test]
    fn words_are_seen_over_speckle() {
        let mut picture = paper(300, 200, 0);
        noise(&mut picture, 90, 2);
        write(&mut picture, (40, 100), &[4, 0, 1, 2], 2, 255);
        assert!(is_likely(&picture));
    }

    #[test]
    fn what_is_no_text_raises_no_doubt() {
        assert!(!is_likely(&paper(64, 64, 0)));
        assert!(!is_likely(&paper(0, 0, 0)));
        let mut three = paper(300, 200, 0);
        write(&mut three, (40, 100), &[4, 0, 1], 2, 255);
        assert!(!is_likely(&three), "too few marks");
        let mut frame = paper(300, 200, 0);
        for at in 0..300 {
            frame.shades[20 * 300 + at] = 255;
            frame.shades[at % 200 * 300 + 50] = 255;
        }
        assert!(!is_likely(&frame), "rules");
        let mut slope = paper(256, 256, 0);
        for at in 0..256 * 256 {
            slope.shades[at] = u8::try_from((at % 256).max(at / 256)).unwrap();
        }
        assert!(!is_likely(&slope), "shades");
        let mut grain = paper(256, 256, 0);
        noise(&mut grain, 200, 1);
        let mut tissue = paper(256, 256, 0);
        for (at, shade) in tissue.shades.iter_mut().enumerate() {
            // What a probe sees is as wide as its beam.
            let near = (0..9).map(|near| (at + near % 3 + near / 3 * 256) % (256 * 256));
            let sum: u32 = near.map(|near| u32::from(grain.shades[near])).sum();
            *shade = u8::try_from(sum / 9).unwrap();
        }
        assert!(!is_likely(&tissue), "tissue");
    }

    #[test]
    fn marks_hang_together_at_corners_and_around_holes() {
        let drawn = ["#...#.#", ".#.#..#", "..#...#", ".#.#...", "#...###"];
        let shades = drawn.concat().bytes().map(|dot| if dot == b'#' { 255 } else { 0 }).collect();
        let mut found = marks(&Picture { columns: 7, shades }, |shade| shade > 0);
        found.sort_by_key(|mark| mark.left);
        assert_eq!(found, [Mark { left: 0, top: 0, right: 7, bottom: 5, pixels: 11 }]);
    }
}
