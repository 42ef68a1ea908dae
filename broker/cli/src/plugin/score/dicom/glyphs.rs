//! Letters of five by seven pixels, to burn text into images.

/// Columns and rows of a letter.
const COLUMNS: u32 = 5;
const ROWS: u32 = 7;
/// Rows of the letters from top to bottom, the leftmost pixel in the highest of five bits.
const LETTERS: [(char, [u8; 7]); 12] = [
    ('0', [14, 17, 19, 21, 25, 17, 14]),
    ('1', [4, 12, 4, 4, 4, 4, 14]),
    ('2', [14, 17, 1, 2, 4, 8, 31]),
    ('3', [31, 2, 4, 2, 1, 17, 14]),
    ('4', [2, 6, 10, 18, 31, 2, 2]),
    ('5', [31, 16, 30, 1, 1, 17, 14]),
    ('6', [6, 8, 16, 30, 17, 17, 14]),
    ('7', [31, 1, 2, 4, 8, 8, 8]),
    ('8', [14, 17, 17, 14, 17, 17, 14]),
    ('9', [14, 17, 17, 15, 1, 2, 12]),
    ('D', [28, 18, 17, 17, 17, 18, 28]),
    ('E', [31, 16, 16, 30, 16, 16, 31]),
];

/// The rectangle, `[left, top, width, height]`, and the pixels of a text in it: as large as fits, none if it does not.
pub(super) fn draw(text: &str, within: [u32; 4], mut set: impl FnMut(u32, u32)) -> Option<[u32; 4]> {
    let [left, top, width, height] = within;
    let letters = u32::try_from(text.len()).ok()?;
    let scale = (width / (letters * (COLUMNS + 1))).min(height / (ROWS + 2)).min(4);
    if scale == 0 {
        return None;
    }
    let (x0, y0) = (left + scale, top + scale);
    for (index, letter) in (0..).zip(text.chars()) {
        let rows = LETTERS.iter().find(|(found, _)| *found == letter).map(|(_, rows)| rows)?;
        for (row, bits) in (0..).zip(rows) {
            for column in (0..COLUMNS).filter(|column| bits >> (COLUMNS - 1 - column) & 1 == 1) {
                for (x, y) in (0..scale).flat_map(|x| (0..scale).map(move |y| (x, y))) {
                    let (x, y) = (x + (index * (COLUMNS + 1) + column) * scale, y + row * scale);
                    if x0 + x < left + width && y0 + y < top + height {
                        set(x0 + x, y0 + y);
                    }
                }
            }
        }
    }
    Some([left, top, (letters * (COLUMNS + 1) * scale + scale).min(width), (ROWS + 2) * scale])
}
