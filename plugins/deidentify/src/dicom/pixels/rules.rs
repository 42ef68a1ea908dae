//! Which images hold text in their pixels, and where: rules by device signature, as text that a hospital edits.
//!
//! The first line names the format, the next one that is no remark (`#`) the columns; they are separated by tabulators. `action` has to be
//! there. `modality`, `sop_class`, `manufacturer`, `model`, `image_type`, `rows` and `columns` are patterns, in which `*` stands for any
//! characters, and which fit anything where they are left out; `note` belongs to people. The first rule that fits counts. After the
//! hospital's rules come those of `data/pixel-rules.tsv`, which fit everything.

use std::fmt;

/// The rules that a plugin brings.
const BUILT_IN: &str = include_str!("../../../data/pixel-rules.tsv");
/// The first line.
const MARK: &str = "# Hilum pixel rules";
/// Rules of one file.
const RULES_MAX: usize = 4096;
/// Rectangles of one kind in one rule.
const RECTANGLES_MAX: usize = 32;
/// Characters of one pattern.
const PATTERN_CHARS_MAX: usize = 128;
/// The columns with patterns, in the order of [`Signature::fields`].
const PATTERNS: [&str; 7] =
    ["modality", "sop_class", "manufacturer", "model", "image_type", "rows", "columns"];

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'f> {
    /// In the order of [`PATTERNS`], without padding.
    pub(super) fields: [&'f [u8]; PATTERNS.len()],
}

/// What happens to the pixels of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// They hold no text.
    Clean,
    /// They hold none if Burned In Annotation (0028,0301) is `NO`.
    Believe,
    /// They hold text in these rectangles alone.
    Mask(Vec<Rectangle>),
    /// Nobody can be sure.
    Quarantine,
}

/// A rectangle, in pixels from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rectangle {
    pub(super) left: u32,
    pub(super) top: u32,
    /// None to the right edge.
    pub(super) width: Option<u32>,
    /// None to the lower edge.
    pub(super) height: Option<u32>,
}

/// The rules of a stage.
#[derive(Clone, Debug)]
pub(in crate::dicom) struct PixelRules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    patterns: [String; PATTERNS.len()],
    decision: Decision,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) action: Action,
    /// Where there is text that identifies nobody.
    pub(super) known: Vec<Rectangle>,
}

/// What is decided where no rule fits.
const NONE_FITS: &Decision = &Decision { action: Action::Quarantine, known: Vec::new() };

/// What is wrong with the text of rules, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dicom) struct RulesError {
    /// From 1.
    line: usize,
    /// What is there and what should be.
    what: String,
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for RulesError {}

impl PixelRules {
    /// The rules of a hospital, if it has any, and those that come with the plugin.
    ///
    /// # Errors
    /// At the first line that is not as it has to be.
    pub(in crate::dicom) fn new(own: Option<&str>) -> Result<PixelRules, RulesError> {
        let mut rules = own.map(parse).transpose()?.unwrap_or_default();
        rules.extend(parse(BUILT_IN)?);
        Ok(PixelRules(rules))
    }

    /// What happens to an image.
    pub(super) fn decision(&self, signature: Signature<'_>) -> &Decision {
        let fits = |rule: &&Rule| {
            rule.patterns.iter().zip(signature.fields).all(|(pattern, field)| fits(pattern.as_bytes(), field))
        };
        self.0.iter().find(fits).map_or(NONE_FITS, |rule| &rule.decision)
    }
}

fn parse(text: &str) -> Result<Vec<Rule>, RulesError> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).zip(1..);
    if lines.next().is_none_or(|(line, _)| line.trim_end() != MARK) {
        return Err(error(1, format!("the first line has to be `{MARK}`")));
    }
    let mut lines = lines.filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    let (head, number) = lines.next().ok_or_else(|| error(2, "the names of the columns are missing"))?;
    let columns = Columns::of(head, number)?;
    let mut rules = Vec::new();
    for (line, number) in lines {
        if rules.len() == RULES_MAX {
            return Err(error(number, format!("there may be at most {RULES_MAX} rules")));
        }
        rules.push(columns.rule(line, number)?);
    }
    Ok(rules)
}

/// Where the columns are.
struct Columns {
    patterns: [Option<usize>; PATTERNS.len()],
    action: usize,
    count: usize,
}

impl Columns {
    fn of(head: &str, line: usize) -> Result<Columns, RulesError> {
        let names: Vec<&str> = head.split('\t').map(str::trim).collect();
        let mut action = None;
        let mut patterns = [None; PATTERNS.len()];
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(error(line, format!("column `{name}` is there twice")));
            }
            match PATTERNS.iter().position(|pattern| pattern == name) {
                Some(pattern) => patterns[pattern] = Some(at),
                None if *name == "action" => action = Some(at),
                None if *name == "note" => {}
                None => {
                    let known = PATTERNS.join("`, `");
                    let what =
                        format!("no column is called `{name}`; there are `{known}`, `action` and `note`");
                    return Err(error(line, what));
                }
            }
        }
        let action = action.ok_or_else(|| error(line, "column `action` is missing"))?;
        Ok(Columns { patterns, action, count: names.len() })
    }

    fn rule(&self, line: &str, number: usize) -> Result<Rule, RulesError> {
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        if cells.len() > self.count {
            return Err(error(number, "there are more cells than columns"));
        }
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        let mut patterns = PATTERNS.map(|_| "*".to_owned());
        for (pattern, at) in patterns.iter_mut().zip(self.patterns) {
            let Some(at) = at else { continue };
            let text = cell(at);
            if text.is_empty() {
                return Err(error(number, "a pattern is empty; write `*` for anything"));
            }
            if text.chars().count() > PATTERN_CHARS_MAX {
                return Err(error(number, format!("a pattern has at most {PATTERN_CHARS_MAX} characters")));
            }
            *pattern = text.to_owned();
        }
        Ok(Rule { patterns, decision: decision(cell(self.action), number)? })
    }
}

/// An action, and after `known` rectangles of text that identifies nobody.
fn decision(text: &str, line: usize) -> Result<Decision, RulesError> {
    let wrong = || {
        let what = format!(
            "an action is `clean`, `believe`, `quarantine` or `mask` with 1 to {RECTANGLES_MAX} rectangles, and after one that is not \
             `quarantine` there may be `known` with as many, not `{text}`"
        );
        error(line, what)
    };
    let rectangles = |words: &[&str]| {
        if !(1..=RECTANGLES_MAX).contains(&words.len()) {
            return Err(wrong());
        }
        words.iter().map(|text| rectangle(text, line)).collect::<Result<Vec<_>, _>>()
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "known");
    let known = at.map(|at| rectangles(&words[at + 1..])).transpose()?.unwrap_or_default();
    let action = match words[..at.unwrap_or(words.len())] {
        ["clean"] => Action::Clean,
        ["believe"] => Action::Believe,
        ["quarantine"] if known.is_empty() => Action::Quarantine,
        ["mask", ref covered @ ..] => Action::Mask(rectangles(covered)?),
        _ => return Err(wrong()),
    };
    Ok(Decision { action, known })
}

/// `left,top,width,height`; a width or height of `*` reaches to the edge.
fn rectangle(text: &str, line: usize) -> Result<Rectangle, RulesError> {
    let wrong = || {
        let what = format!(
            "`{text}` is no rectangle: write `left,top,width,height` in pixels, with `*` for a width or height that reaches to the edge"
        );
        error(line, what)
    };
    let [left, top, width, height] =
        <[&str; 4]>::try_from(text.split(',').collect::<Vec<_>>()).map_err(|_| wrong())?;
    let number = |text: &str| text.parse::<u16>().map(u32::from).map_err(|_| wrong());
    let size = |text: &str| match text {
        "*" => Ok(None),
        _ => number(text).and_then(|size| if size > 0 { Ok(Some(size)) } else { Err(wrong()) }),
    };
    Ok(Rectangle { left: number(left)?, top: number(top)?, width: size(width)?, height: size(height)? })
}

/// Whether a value is as a pattern says, whatever the case of its letters.
fn fits(pattern: &[u8], value: &[u8]) -> bool {
    let mut parts = pattern.split(|octet| *octet == b'*');
    let first = parts.next().unwrap_or_default();
    let Some((start, mut rest)) = value.split_at_checked(first.len()) else { return false };
    if !start.eq_ignore_ascii_case(first) {
        return false;
    }
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.len() >= part.len() && rest[rest.len() - part.len()..].eq_ignore_ascii_case(part);
        }
        if part.is_empty() {
            continue;
        }
        let Some(at) = rest.windows(part.len()).position(|window| window.eq_ignore_ascii_case(part)) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

fn error(line: usize, what: impl Into<String>) -> RulesError {
    RulesError { line, what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature<'f>(modality: &'f str, maker: &'f str, model: &'f str, rows: &'f str) -> Signature<'f> {
        let fields = [modality, "1.2.3", maker, model, "ORIGINAL\\PRIMARY", rows, "640"];
        Signature { fields: fields.map(str::as_bytes) }
    }

    #[test]
    fn patterns_fit_as_people_expect() {
        for (pattern, value) in [
            ("*", ""),
            ("*", "x"),
            ("CT", "ct"),
            ("GE*", "GE MEDICAL"),
            ("*MEDICAL*", "GE Medical Systems"),
            ("*a*b", "xaxbb"),
            ("a**b", "ab"),
        ] {
            assert!(fits(pattern.as_bytes(), value.as_bytes()), "{pattern} {value}");
        }
        for (pattern, value) in
            [("CT", ""), ("CT", "CTX"), ("GE*", "SIGE"), ("a*b", "a"), ("ab*b", "ab"), ("*a*b", "b")]
        {
            assert!(!fits(pattern.as_bytes(), value.as_bytes()), "{pattern} {value}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_the_built_in_ones_come_last() {
        let text = "# Hilum pixel rules\n# by hand\nmodality\tmanufacturer\tmodel\trows\taction\tnote\n\
            US\tACME*\tLOGIQ 9\t480\tmask 0,0,*,40 600,40,40,*\tits banner\r\n\n\
            US\tACME*\t*\t*\tclean\n";
        let rules = PixelRules::new(Some(text)).unwrap();
        let masks = [
            Rectangle { left: 0, top: 0, width: None, height: Some(40) },
            Rectangle { left: 600, top: 40, width: Some(40), height: None },
        ];
        assert_eq!(
            rules.decision(signature("US", "Acme Inc", "Logiq 9", "480")).action,
            Action::Mask(masks.to_vec())
        );
        assert_eq!(rules.decision(signature("US", "Acme Inc", "Logiq 9", "481")).action, Action::Clean);
        assert_eq!(rules.decision(signature("US", "Other", "Logiq 9", "480")).action, Action::Quarantine);
        assert_eq!(rules.decision(signature("CT", "Acme", "", "")).action, Action::Believe);
    }

    #[test]
    fn text_may_be_known() {
        let text = "# Hilum pixel rules\nmodel\taction\nA\tmask 0,0,*,9 known 1,2,3,4 5,6,7,8\n*\tclean known 0,0,*,*\n";
        let rules = PixelRules::new(Some(text)).unwrap();
        let decision = rules.decision(signature("US", "", "A", ""));
        assert!(matches!(&decision.action, Action::Mask(covered) if covered.len() == 1));
        assert_eq!(decision.known[1], Rectangle { left: 5, top: 6, width: Some(7), height: Some(8) });
        let decision = rules.decision(signature("US", "", "B", ""));
        assert_eq!((&decision.action, decision.known.len()), (&Action::Clean, 1));
    }

    #[test]
    fn what_is_doubtful_by_itself_needs_a_rule() {
        let rules = PixelRules::new(None).unwrap();
        let action = |modality: &str, sop_class: &str, image_type: &str| {
            let fields = [modality, sop_class, "", "", image_type, "", ""].map(str::as_bytes);
            rules.decision(Signature { fields }).action.clone()
        };
        let mr = "1.2.840.10008.5.1.4.1.1.4";
        assert_eq!(action("MR", mr, "ORIGINAL\\PRIMARY"), Action::Believe);
        assert_eq!(action("", "", ""), Action::Believe);
        for (modality, sop_class, image_type) in [
            ("us", mr, ""),
            ("OT", mr, ""),
            ("CT", "1.2.840.10008.5.1.4.1.1.7", ""),
            ("CT", "1.2.840.10008.5.1.4.1.1.7.4", ""),
            ("MR", "1.2.840.10008.5.1.4.1.1.6.1", ""),
            ("MR", "1.2.840.10008.5.1.4.1.1.77.1.4", ""),
            ("CT", "1.2.840.10008.5.1.4.1.1.2", "DERIVED\\SECONDARY\\SCREEN SAVE"),
        ] {
            assert_eq!(action(modality, sop_class, image_type), Action::Quarantine, "{modality} {sop_class}");
        }
        assert_eq!(action("MR", "1.2.840.10008.5.1.4.1.1.66", ""), Action::Believe);
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let head = "# Hilum pixel rules\nmodality\taction\n";
        for (text, line) in [
            ("modality\taction\n", 1),
            ("# Hilum pixel rules\n", 2),
            ("# Hilum pixel rules\nmodality\n", 2),
            ("# Hilum pixel rules\nmodality\tcolour\taction\n", 2),
            ("# Hilum pixel rules\naction\taction\n", 2),
            (&format!("{head}CT\tpass\n"), 3),
            (&format!("{head}\n\tclean\n"), 4),
            (&format!("{head}CT\tmask\n"), 3),
            (&format!("{head}CT\tmask 1,2,3\n"), 3),
            (&format!("{head}CT\tmask 1,2,3,4,5\n"), 3),
            (&format!("{head}CT\tmask 1,2,0,4\n"), 3),
            (&format!("{head}CT\tmask 1,2,65536,4\n"), 3),
            (&format!("{head}CT\tmask *,2,3,4\n"), 3),
            (&format!("{head}CT\tknown 1,2,3,4\n"), 3),
            (&format!("{head}CT\tclean known\n"), 3),
            (&format!("{head}CT\tquarantine known 1,2,3,4\n"), 3),
            (&format!("{head}CT\tclean 1,2,3,4\n"), 3),
            (&format!("{head}CT\tclean\textra\n"), 3),
            (&format!("{head}{}\tclean\n", "x".repeat(129)), 3),
            (&format!("{head}CT\tmask{}\n", " 0,0,1,1".repeat(33)), 3),
            (&format!("{head}{}", "CT\tclean\n".repeat(4097)), 4099),
        ] {
            assert_eq!(PixelRules::new(Some(text)).unwrap_err().line, line, "{text:.60}");
        }
    }
}
