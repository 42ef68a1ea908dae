//! The transforms of JPEG 2000 that lose nothing: of colours (ITU-T T.800 G.2.1) and the 5-3 wavelet (F.4).

/// Turns the samples of three components into luma and two differences.
pub(super) fn turn_colours([red, green, blue]: [&mut [i32]; 3]) {
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        let luma = (*red + 2 * *green + *blue) >> 2;
        (*red, *green, *blue) = (luma, *blue - *green, *red - *green);
    }
}

/// Transforms an image in its place, level by level: what is low goes to the upper left of what was there.
pub(super) fn transform(samples: &mut [i32], columns: usize, rows: usize, levels: u32) {
    let (mut width, mut height) = (columns, rows);
    let mut column_band = Vec::new();
    let mut row_line = vec![0; columns];
    for _ in 0..levels {
        lift_columns(samples, (columns, width, height), &mut column_band);
        for row in samples.chunks_exact_mut(columns).take(height) {
            let line = &mut row_line[..width];
            line.copy_from_slice(&row[..width]);
            lift(line, 1);
            let (low, high) = row[..width].split_at_mut(width.div_ceil(2));
            low.iter_mut().zip(line.iter().step_by(2)).for_each(|(to, from)| *to = *from);
            high.iter_mut().zip(line.iter().skip(1).step_by(2)).for_each(|(to, from)| *to = *from);
        }
        (width, height) = (width.div_ceil(2), height.div_ceil(2));
    }
}

/// Columns that are transformed at a time.
const BAND: usize = 16;

/// Transforms columns, a band of them at a time, so that rows are read and not single samples.
fn lift_columns(samples: &mut [i32], (stride, width, height): (usize, usize, usize), band: &mut Vec<i32>) {
    for left in (0..width).step_by(BAND) {
        let count = BAND.min(width - left);
        band.clear();
        for row in samples.chunks_exact(stride).take(height) {
            band.extend_from_slice(&row[left..left + count]);
        }
        lift(band, count);
        let order = (0..height).step_by(2).chain((1..height).step_by(2));
        for (row, from) in samples.chunks_exact_mut(stride).zip(order) {
            row[left..left + count].copy_from_slice(&band[from * count..(from + 1) * count]);
        }
    }
}

/// Lifts lines of `count` samples that lie side by side (F.4.8.1): first the odd ones, then the even ones.
fn lift(line: &mut [i32], count: usize) {
    let length = line.len() / count;
    if length < 2 {
        return;
    }
    // At an edge the line is mirrored.
    let before = |at: usize| if at == 0 { 1 } else { at - 1 };
    let behind = |at: usize| if at + 1 == length { at - 1 } else { at + 1 };
    for at in (1..length).step_by(2) {
        for column in 0..count {
            let around = line[before(at) * count + column] + line[behind(at) * count + column];
            line[at * count + column] -= around >> 1;
        }
    }
    for at in (0..length).step_by(2) {
        for column in 0..count {
            let around = line[before(at) * count + column] + line[behind(at) * count + column];
            line[at * count + column] += (around + 2) >> 2;
        }
    }
}
