//! Standard output, and tables on it.

use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::diagnostic::Failure;
use super::{Outcome, map};

/// Prints text; a reader that has gone away is no failure.
pub(super) fn print(text: &str) -> Result<Outcome, Failure> {
    let mut out = std::io::stdout();
    map::written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Text in columns; those after the first `left` hold numbers.
pub(super) fn table(header: Vec<String>, rows: Vec<Vec<String>>, left: usize) -> String {
    let mut table = Table::new();
    // As wide as it is: lines are looked through by other programs too.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header).add_rows(rows);
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if position >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_lines_have_no_tail() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let table = table(row("NAME", "N"), vec![row("a", "5"), row("long name", "12")], 1);
        assert_eq!(table, "NAME        N\na           5\nlong name  12\n");
    }
}
