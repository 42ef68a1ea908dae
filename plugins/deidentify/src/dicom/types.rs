//! Of which type an attribute is in the IOD of an object (PS3.3 Annex A), for the attributes whose basic action depends on it.
//!
//! What leads to them is a tree of sequences with few nodes, so that a rewriter need only remember at which one it is. The tables are
//! made by `data/generate.py`.

use hilum_formats::dicom::Tag;

include!(concat!(env!("OUT_DIR"), "/types.rs"));

/// The one sequence that contains itself (PS3.3 C.17.3).
const CONTENT_SEQUENCE: Tag = Tag(0x0040_A730);

/// What an instance needs of an attribute, where its IOD has it. Conditions are taken as met: the attribute is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// It has to have a value.
    One,
    /// It may be empty.
    Two,
}

/// A place among the sequences of an IOD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u8);

impl Node {
    /// The data set itself.
    pub(super) const ROOT: Node = Node(0);
    /// Below here no attribute has a choice in any IOD.
    const NONE: Node = Node(u8::MAX);

    /// Where the items of a sequence are.
    pub(super) fn below(self, sequence: Tag) -> Node {
        if let Ok(found) = NODES.binary_search_by_key(&(self.0, sequence.0), |(node, tag, _)| (*node, *tag)) {
            return Node(NODES[found].2);
        }
        let is_content =
            |node: Node| NODES.iter().any(|(_, tag, to)| *to == node.0 && *tag == CONTENT_SEQUENCE.0);
        if sequence == CONTENT_SEQUENCE && is_content(self) { self } else { Node::NONE }
    }
}

/// The IOD of a SOP class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Iod(u8);

impl Iod {
    /// The IOD that the instances of a SOP class follow; none for a class that the tables do not know.
    pub(super) fn of(sop_class: &[u8]) -> Option<Iod> {
        let found = SOP_CLASSES.binary_search_by(|(uid, _)| uid.as_bytes().cmp(sop_class)).ok()?;
        Some(Iod(SOP_CLASSES[found].1))
    }

    /// The type of an attribute; none where it is of type 3 or not in the IOD at all.
    pub(super) fn type_of(self, node: Node, attribute: Tag) -> Option<Type> {
        let key = (node.0, attribute.0);
        let found = TYPED.binary_search_by_key(&key, |(node, tag, _)| (*node, *tag)).ok()?;
        let bits = usize::from(TYPED[found].2);
        match TYPES[usize::from(self.0)][bits / 4] >> (bits % 4 * 2) & 3 {
            1 => Some(Type::One),
            2 => Some(Type::Two),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_standard() {
        let ct = Iod::of(b"1.2.840.10008.5.1.4.1.1.2").unwrap();
        let enhanced_ct = Iod::of(b"1.2.840.10008.5.1.4.1.1.2.1").unwrap();
        let report = Iod::of(b"1.2.840.10008.5.1.4.1.1.88.33").unwrap();
        let plan = Iod::of(b"1.2.840.10008.5.1.4.1.1.481.5").unwrap();
        let acquisition = Tag(0x0008_0022);
        assert_eq!(ct.type_of(Node::ROOT, acquisition), None, "type 3 in General Acquisition");
        assert_eq!(enhanced_ct.type_of(Node::ROOT, Tag(0x0008_0023)), Some(Type::One), "Content Date");
        assert_eq!(ct.type_of(Node::ROOT, Tag(0x0010_0020)), Some(Type::Two), "Patient ID");
        let observed = Tag(0x0040_A032);
        let content = Node::ROOT.below(CONTENT_SEQUENCE);
        assert_eq!(report.type_of(content, observed), Some(Type::One), "1C in a content item");
        assert_eq!(content.below(CONTENT_SEQUENCE), content, "and in those below it");
        assert_eq!(plan.type_of(Node::ROOT, Tag(0x300A_0006)), Some(Type::Two), "RT Plan Date");
        assert_eq!(Iod::of(b"1.2.840.113619.4.2"), None);
        assert_eq!(ct.type_of(Node::ROOT.below(Tag(0x0040_0260)), observed), None);
    }

    #[test]
    fn tables_are_sorted() {
        assert!(SOP_CLASSES.is_sorted() && NODES.is_sorted() && TYPED.is_sorted());
        assert!(SOP_CLASSES.iter().all(|(_, iod)| usize::from(*iod) < TYPES.len()));
    }
}
