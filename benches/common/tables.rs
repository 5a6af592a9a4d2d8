//! Tables, in Markdown, which a terminal shows well too.

use comfy_table::{CellAlignment, Table, presets};

/// An empty table with these columns; those from some number on hold figures.
pub fn table(header: &[&str], figures_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(figures_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
