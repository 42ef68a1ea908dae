//! Packets of JPEG 2000: which blocks of a resolution there are, and how long they are (ITU-T T.800 B.10).

use super::block::Block;

/// Blocks of a subband, row after row, in as many columns.
pub(super) struct Blocks {
    pub(super) columns: usize,
    pub(super) blocks: Vec<Block>,
}

/// Writes the packet of a resolution of one component, all of it in one layer, whose coefficients have as many bit planes at most.
pub(super) fn write(subbands: &[(Blocks, u32)], into: &mut Vec<u8>) {
    let mut bits = Bits { into, waiting: 0, count: 0, size: 8 };
    bits.put(1, 1);
    for (Blocks { columns, blocks }, planes) in subbands {
        let missing: Vec<u32> = blocks.iter().map(|block| planes - block.planes).collect();
        let absent = blocks.iter().map(|block| u32::from(block.planes == 0)).collect();
        let mut included = TagTree::new(*columns, absent);
        let mut zero_planes = TagTree::new(*columns, missing);
        for (at, block) in blocks.iter().enumerate() {
            included.write(at, 1, &mut bits);
            if block.planes > 0 {
                zero_planes.write(at, u32::MAX, &mut bits);
                bits.put_passes(block.passes());
                bits.put_length(block);
            }
        }
    }
    bits.finish();
    for (Blocks { blocks, .. }, _) in subbands {
        blocks.iter().for_each(|block| into.extend_from_slice(&block.octets));
    }
}

/// Bits of a packet header: after an octet of ones the next one has seven (B.10.1).
struct Bits<'i> {
    into: &'i mut Vec<u8>,
    waiting: u8,
    count: u32,
    size: u32,
}

impl Bits<'_> {
    fn put(&mut self, count: u32, bits: u32) {
        for bit in (0..count).rev() {
            self.waiting = self.waiting << 1 | u8::from(bits >> bit & 1 == 1);
            self.count += 1;
            if self.count == self.size {
                self.into.push(self.waiting);
                self.size = if self.waiting == 0xFF { 7 } else { 8 };
                (self.waiting, self.count) = (0, 0);
            }
        }
    }

    /// Table B.4.
    fn put_passes(&mut self, passes: u32) {
        match passes {
            0..=1 => self.put(1, 0),
            2 => self.put(2, 0b10),
            3..=5 => self.put(4, 0b1100 | (passes - 3)),
            6..=36 => self.put(9, 0b1111 << 5 | (passes - 6)),
            _ => self.put(16, 0b1_1111_1111 << 7 | (passes - 37)),
        }
    }

    /// B.10.7.1.
    fn put_length(&mut self, block: &Block) {
        let length = u32::try_from(block.octets.len()).expect("a block has few octets");
        let needed = 32 - length.leading_zeros();
        let given = 3 + block.passes().ilog2();
        let more = needed.saturating_sub(given);
        (0..more).for_each(|_| self.put(1, 1));
        self.put(1, 0);
        self.put(given + more, length);
    }

    fn finish(mut self) {
        // An octet of ones is not the last one.
        while self.count > 0 || self.size == 7 {
            self.put(1, 0);
        }
    }
}

/// Numbers in a grid, told by the least ones of each four of them, and those of each four of these (B.10.2).
struct TagTree {
    /// From the numbers themselves to the one at the top: columns, and nodes.
    levels: Vec<(usize, Vec<Node>)>,
}

#[derive(Clone, Copy)]
struct Node {
    least: u32,
    /// What it was told to be at least.
    told: u32,
    is_known: bool,
}

impl TagTree {
    fn new(columns: usize, numbers: Vec<u32>) -> TagTree {
        let node = |least| Node { least, told: 0, is_known: false };
        let mut levels = vec![(columns, numbers.into_iter().map(node).collect::<Vec<_>>())];
        while let Some((columns, nodes)) = levels.last().filter(|(_, nodes)| nodes.len() > 1) {
            let above = columns.div_ceil(2);
            let mut least = vec![node(u32::MAX); above * (nodes.len() / columns).div_ceil(2)];
            for (at, below) in nodes.iter().enumerate() {
                let to = &mut least[at / columns / 2 * above + at % columns / 2].least;
                *to = below.least.min(*to);
            }
            levels.push((above, least));
        }
        TagTree { levels }
    }

    /// Tells whether a number is below another one, and if it is, which it is.
    fn write(&mut self, at: usize, below: u32, bits: &mut Bits<'_>) {
        let columns = self.levels.first().map_or(1, |(columns, _)| *columns);
        let (row, column) = (at / columns, at % columns);
        let mut told = 0;
        for (level, (columns, nodes)) in self.levels.iter_mut().enumerate().rev() {
            let node = &mut nodes[(row >> level) * *columns + (column >> level)];
            told = node.told.max(told);
            while told < below && !node.is_known {
                node.is_known = told == node.least;
                bits.put(1, node.is_known.into());
                told += u32::from(!node.is_known);
            }
            node.told = told;
        }
    }
}
