//! Value representations (PS3.5 section 6.2): what of them matters to the encoding of a data element.

macro_rules! value_representations {
    ($($vr:ident)*) => {
        /// A value representation, by its two letters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the letters are all there is to say")]
        pub enum Vr { $($vr),* }

        impl Vr {
            /// All of them.
            pub const ALL: &[Vr] = &[$(Vr::$vr),*];

            /// The value representation of two letters.
            pub fn from_letters([first, second]: [u8; 2]) -> Option<Vr> {
                let place = |letter: u8| usize::from(letter.wrapping_sub(b'A'));
                *BY_LETTERS.get(place(first))?.get(place(second))?
            }

            /// Its two letters.
            pub const fn letters(self) -> &'static [u8] {
                match self { $(Vr::$vr => stringify!($vr).as_bytes()),* }
            }
        }
    };
}

value_representations!(AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV);

/// Each under its two letters: it is asked for with every data element.
const BY_LETTERS: [[Option<Vr>; 26]; 26] = {
    let mut table = [[None; 26]; 26];
    let mut at = 0;
    while at < Vr::ALL.len() {
        if let [first, second] = Vr::ALL[at].letters() {
            table[(*first - b'A') as usize][(*second - b'A') as usize] = Some(Vr::ALL[at]);
        }
        at += 1;
    }
    table
};

/// What kind of value a representation holds: the dictionary and the object may differ within a kind, not across kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Characters.
    Text,
    /// Numbers and octets.
    Binary,
    /// Items.
    Sequence,
    /// Whatever the dictionary says (PS3.5 section 6.2.2).
    Unknown,
}

impl Vr {
    /// The kind of its values.
    pub fn kind(self) -> Kind {
        use Vr::{AE, AS, CS, DA, DS, DT, IS, LO, LT, PN, SH, SQ, ST, TM, UC, UI, UN, UR, UT};
        match self {
            SQ => Kind::Sequence,
            UN => Kind::Unknown,
            AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UI | UR | UT => Kind::Text,
            _ => Kind::Binary,
        }
    }

    /// Whether an explicit header has a length of 32 bits after two reserved octets (PS3.5 table 7.1-1), rather than of
    /// 16 bits (table 7.1-2).
    pub fn has_long_length(self) -> bool {
        use Vr::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
        matches!(self, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
    }

    /// What pads a value to an even length.
    pub fn padding(self) -> u8 {
        if self.kind() == Kind::Text && self != Vr::UI { b' ' } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_round_trip_and_nothing_else_is_a_value_representation() {
        assert_eq!(Vr::ALL.len(), 34);
        for vr in Vr::ALL {
            assert_eq!(Vr::from_letters(vr.letters().try_into().unwrap()), Some(*vr));
        }
        assert_eq!(Vr::from_letters(*b"XX"), None);
        assert_eq!(Vr::from_letters(*b"lo"), None);
    }
}
