//! Tables in plain text, as wide as what is in them.

/// Rows of cells under a head.
#[derive(Debug, Clone)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl TextTable {
    /// A table with these columns; those numbered in `right` are aligned to the right.
    #[must_use]
    pub fn new(head: &[&str], right: &[usize]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()], right: right.to_vec() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table, each line ended.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            text.push_str(&self.line(row, &widths));
            if index == 0 {
                text.push_str(&widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>().join("──"));
                text.push('\n');
            }
        }
        text
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = widths.iter().enumerate().map(|(column, &width)| {
            let cell = row.get(column).map_or("", String::as_str);
            if self.right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(&["who", "count", "what"], &[1]);
        table.row(vec!["radiology".into(), "12".into(), "originals".into()]);
        table.row(vec!["é".into(), "3".into()]);
        let expected = "who        count  what\n───────────────────────────\nradiology     12  originals\né              3\n";
        assert_eq!(table.render(), expected);
    }
}
