//! Columns as Apache's tools print them.

/// Rows of cells, each column as wide as its longest cell, divided by tabs.
pub fn tabbed(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|it| it.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}\t"));
        }
        text.push('\n');
    }
    text
}

/// Rows of cells, each column at least this wide and divided by a space; the last is not filled up.
pub fn columns(rows: &[Vec<String>], least: &[usize]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|it| it.chars().count());
        cells.max().unwrap_or(0).max(least.get(at).copied().unwrap_or(0))
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if at + 1 == row.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:width$} ", width = widths[at]));
            }
        }
        text.push('\n');
    }
    text
}
