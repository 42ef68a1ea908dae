//! Whole interchanges: claims, broken ones and any at all.

use proptest::prelude::*;

use super::*;
use crate::Edits;

/// A claim for a subscriber's dependent, with another subscriber and a service line.
const CLAIM: &[&str] = &[
    "ST*837*0021*005010X222A1",
    "BHT*0019*00*0123*20261015*1023*CH",
    "NM1*41*2*BILLING*****46*TGJ23",
    "HL*1**20*1",
    "NM1*85*1*KILDARE*BEN****XX*1999996666",
    "N3*1234 SEAWAY ST",
    "HL*2*1*22*1",
    "SBR*P********CI",
    "NM1*IL*1*SMITH*JANE****MI*111223333",
    "HL*3*2*23*0",
    "PAT*19",
    "NM1*QC*1*SMITH*TED",
    "DMG*D8*19730501*M",
    "CLM*26407789*79.04***11:B:1*Y*A*Y*I",
    "REF*EA*44",
    "NM1*77*2*KILDARE ASSOCIATES",
    "SBR*S*01*******CI",
    "NM1*IL*1*SMITH*JACK****MI*T55TY666",
    "LX*1",
    "SV1*HC:99213*43*UN*1***1",
    "REF*6R*1",
    "SE*22*0021",
];

fn interchange(transaction: &[&str], end: &str) -> Vec<u8> {
    let mut text = Interchange::default().header(&Separators::default()).unwrap();
    text.extend_from_slice(end.trim_start_matches('~').as_bytes());
    let group = ["GS*HC*A*B*20261015*1023*7*X*005010X222A1"];
    for segment in group.iter().chain(transaction).chain(&["GE*1*7", "IEA*1*000000001"]) {
        text.extend_from_slice(segment.as_bytes());
        text.extend_from_slice(end.as_bytes());
    }
    text
}

#[test]
fn a_claim_gives_its_parts() {
    for end in ["~", "~\n", "~\r\n"] {
        let text = interchange(CLAIM, end);
        let document = Document::parse(&text).unwrap();
        document.check_counts().unwrap();
        let transaction = document.transactions().next().unwrap();
        assert_eq!(transaction.identifier(), b"837");
        assert_eq!(transaction.guide(), b"005010X222A1");
        assert_eq!(transaction.group().element(6), b"7");
        let claim = transaction.segments()[13];
        assert_eq!((claim.identifier(), claim.number()), ("CLM", 16));
        assert_eq!(claim.components(5).collect::<Vec<_>>(), [&b"11"[..], b"B", b"1"]);
        assert_eq!(claim.element(40), b"");
        assert_eq!(claim.element(0), b"");
        assert_eq!(&text[claim.span()], claim.text());
    }
}

#[test]
fn each_segment_is_somebodys() {
    let text = interchange(CLAIM, "~");
    let document = Document::parse(&text).unwrap();
    let mut walker = Walker::default();
    let places: Vec<_> = document
        .transactions()
        .next()
        .unwrap()
        .segments()
        .iter()
        .map(|segment| walker.place(segment))
        .collect();
    let parties: Vec<_> = places.iter().map(|place| place.party).collect();
    assert_eq!(parties[2], Some(Party::Payer));
    assert_eq!(parties[3], None);
    assert_eq!(parties[5], Some(Party::Provider), "N3 of the billing provider");
    assert_eq!(parties[8], Some(Party::Subscriber));
    assert_eq!(parties[12], Some(Party::Patient), "DMG of the patient");
    assert_eq!(parties[14], None, "REF of the claim");
    assert_eq!((parties[15], places[15].organisation), (Some(Party::Provider), true));
    assert_eq!((parties[17], places[17].area), (Some(Party::Subscriber), Area::Claim));
    assert_eq!((parties[20], places[20].area), (None, Area::Line));
    assert_eq!(places[20].level, Some(Level::Dependent));
}

#[test]
fn counts_are_checked_and_set_right() {
    let text = interchange(CLAIM, "~\n");
    let document = Document::parse(&text).unwrap();
    let mut edits = Edits::new();
    for segment in document.segments().iter().filter(|segment| segment.identifier() == "REF") {
        edits.remove(segment.whole_span());
    }
    let fewer = edits.apply(&text).unwrap();
    let problem = Document::parse(&fewer).unwrap().check_counts().unwrap_err().problem;
    assert_eq!(problem, Problem::Count);
    let right = recount(&fewer).unwrap();
    Document::parse(&right).unwrap().check_counts().unwrap();
    assert!(right.windows(11).any(|window| window == b"SE*20*0021~"));
    assert_eq!(recount(&right).unwrap(), right);

    let other = String::from_utf8(text).unwrap().replace("GE*1*7", "GE*1*8");
    let problem = Document::parse(other.as_bytes()).unwrap().check_counts().unwrap_err().problem;
    assert_eq!(problem, Problem::ControlNumber);
}

/// A trailer may have no element at all: the count is not written into its identifier.
#[test]
fn a_count_is_set_where_there_was_none() {
    let text = String::from_utf8(interchange(CLAIM, "~")).unwrap();
    let without = text.replace("SE*22*0021~", "SE~").replace("GE*1*7~", "GE~").replace("IEA*1*", "IEA**");
    let right = String::from_utf8(recount(without.as_bytes()).unwrap()).unwrap();
    assert!(right.ends_with("SE*22~GE*1~IEA*1*000000001~"), "{right}");
}

#[test]
fn separators_come_from_the_header() {
    let text = String::from_utf8(interchange(CLAIM, "~")).unwrap().replace('*', "|").replace('~', "\n");
    let document = Document::parse(text.as_bytes()).unwrap();
    document.check_counts().unwrap();
    assert_eq!(document.segments()[0].separators().terminator, b'\n');
    let older = text.replace("^|00501", "U|00401");
    assert_eq!(Document::parse(older.as_bytes()).unwrap().segments()[0].separators().repetition, None);
}

#[test]
fn errors_say_where_and_never_what() {
    let check = |text: &[u8], problem| {
        let error = Document::parse(text).unwrap_err();
        assert_eq!(error.problem, problem);
        assert!(!error.to_string().contains("SMITH"));
    };
    let text = interchange(CLAIM, "~");
    check(b"", Problem::Empty);
    check(b"\r\n", Problem::Empty);
    check(b"bad_file", Problem::Header);
    check(&text[..105], Problem::Header);
    check(&text[..106], Problem::Open);
    check(&text[..150], Problem::Unterminated);
    check(&text[..text.len() - 1], Problem::Unterminated);
    check(&[&text[..], b"SMITH~"].concat(), Problem::Header);
    check(&interchange(&["ST*837*1", "SMITH*1", "SE*3*1"], "~"), Problem::Identifier);
    check(&interchange(&["HL*1**20"], "~"), Problem::Nesting);
    check(&interchange(&["ST*837*1", "ST*837*2", "SE*3*1"], "~"), Problem::Nesting);
    check(
        &interchange(&["ST*837*1", &format!("HI{}", "*".repeat(ELEMENTS_MAX + 1)), "SE*3*1"], "~"),
        Problem::TooManyElements,
    );
    let equal = String::from_utf8(text).unwrap().replacen(":~", "^~", 1);
    check(equal.as_bytes(), Problem::Header);
}

#[test]
fn what_cannot_be_written_is_not() {
    let separators = Separators::default();
    assert_eq!(segment("NTE", &["ADD", "a~b"], &separators), Err(BuildError::Separator(2)));
    assert_eq!(segment("NM1", &["IL", "", ""], &separators).unwrap(), b"NM1*IL~");
    let long = Interchange { sender: "SIXTEEN LETTERS!", ..Interchange::default() };
    assert_eq!(long.header(&separators), Err(BuildError::Width(6)));
    let starred = Interchange { sender: "A*B", ..Interchange::default() };
    assert_eq!(starred.header(&separators), Err(BuildError::Separator(6)));
    let equal = Separators { component: b'*', ..separators };
    assert_eq!(Interchange::default().header(&equal), Err(BuildError::Separators));
}

fn transaction() -> impl Strategy<Value = Vec<String>> {
    let element = "[ A-Za-z0-9:^.,]{0,10}";
    let segment = (
        prop::sample::select(vec!["HL", "NM1", "N3", "REF", "CLM", "LX", "K3", "DMG", "SBR"]),
        prop::collection::vec(element, 0..9),
    )
        .prop_map(|(identifier, elements)| format!("{identifier}*{}", elements.join("*")));
    prop::collection::vec(segment, 0..12)
}

/// Everything a reader may do with a document; gives the parts put together again.
fn walk(text: &[u8]) -> Option<Vec<u8>> {
    let document = Document::parse(text).ok()?;
    let mut edits = Edits::new();
    for segment in document.segments() {
        let separators = segment.separators();
        let mut joined = segment.identifier().as_bytes().to_vec();
        for (index, element) in segment.elements().enumerate() {
            assert_eq!(segment.element(index + 1), element);
            joined.push(separators.element);
            joined.extend(segment.components(index + 1).collect::<Vec<_>>().join(&separators.component));
        }
        edits.replace(segment.span(), joined);
    }
    for transaction in document.transactions() {
        let mut walker = Walker::default();
        for segment in transaction.segments() {
            walker.place(segment);
        }
    }
    let _ = document.check_counts();
    recount(text).unwrap();
    Some(edits.apply(text).unwrap())
}

proptest! {
    #[test]
    fn a_valid_interchange_is_written_back_octet_for_octet(
        segments in transaction(),
        end in prop::sample::select(vec!["~", "~\n", "~\r\n"]),
    ) {
        let trailer = format!("SE*{}*1", segments.len() + 2);
        let all: Vec<&str> =
            ["ST*837*1"].into_iter().chain(segments.iter().map(String::as_str)).chain([trailer.as_str()]).collect();
        let text = interchange(&all, end);
        Document::parse(&text).unwrap().check_counts().unwrap();
        prop_assert_eq!(walk(&text), Some(text));
    }

    #[test]
    fn arbitrary_octets_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        walk(&text);
        let header = Interchange::default().header(&Separators::default()).unwrap();
        walk(&[&header, text.as_slice()].concat());
        walk(&[&header, &b"GS*HC~ST*837*1~"[..], &text, b"~SE*1*1~GE*1~IEA~"].concat());
    }

    #[test]
    fn an_interchange_cut_or_damaged_anywhere_never_panics(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let mut text = interchange(CLAIM, "~");
        walk(&text[..at.index(text.len())]);
        let at = at.index(text.len());
        text[at] = octet;
        walk(&text);
    }
}
