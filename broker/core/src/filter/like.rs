//! `LIKE`: `_` is one character, `%` any number of them (SQL-92, section 8.5).

/// A pattern, ready to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    escape: Option<char>,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Exactly(char),
    One,
    Any,
}

/// An escape character that escapes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadEscape;

impl Pattern {
    pub(super) fn new(text: String, escape: Option<char>) -> Result<Self, BadEscape> {
        let mut pieces = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let piece = match character {
                _ if Some(character) == escape => {
                    let escaped = characters.next().filter(|c| matches!(c, '_' | '%') || Some(*c) == escape);
                    Piece::Exactly(escaped.ok_or(BadEscape)?)
                }
                '_' => Piece::One,
                '%' => Piece::Any,
                other => Piece::Exactly(other),
            };
            // Two in a row say the same as one.
            if (piece, pieces.last()) != (Piece::Any, Some(&Piece::Any)) {
                pieces.push(piece);
            }
        }
        Ok(Self { text, escape, pieces })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn escape(&self) -> Option<char> {
        self.escape
    }

    /// Goes back to the last `%` only: what an earlier one could take, the last one can take as well. So it takes at most as
    /// many steps as the pattern's length times the value's.
    pub(super) fn matches(&self, value: &str) -> bool {
        let (mut at, mut rest) = (0, value.chars());
        let mut back: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let mut after = rest.clone();
            let next = after.next();
            match (self.pieces.get(at), next) {
                (Some(Piece::Any), _) => {
                    at += 1;
                    back = Some((at, rest.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some(Piece::One), Some(_)) => {
                    (at, rest) = (at + 1, after);
                    continue;
                }
                (Some(Piece::Exactly(wanted)), Some(character)) if *wanted == character => {
                    (at, rest) = (at + 1, after);
                    continue;
                }
                _ => {}
            }
            let Some((again, from)) = &mut back else { return false };
            if from.next().is_none() {
                return false;
            }
            (at, rest) = (*again, from.clone());
        }
    }
}
