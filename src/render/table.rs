//! Rows of words under each other.

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// The rows with their columns two spaces apart, a line end behind each. Columns that are empty everywhere are left out.
pub fn table(rows: &[Vec<String>], columns: &[Column]) -> String {
    let width =
        |at: usize| rows.iter().filter_map(|row| Some(row.get(at)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate().take(columns.len()) {
            if widths[at] == 0 {
                continue;
            }
            if at > 0 && !line.is_empty() {
                line.push_str("  ");
            }
            let fill = " ".repeat(widths[at] - cell.chars().count());
            match columns[at] {
                Column::Left => line.extend([cell.as_str(), fill.as_str()]),
                Column::Right => line.extend([fill.as_str(), cell.as_str()]),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows = [row(["ä", "", "12", "x"]), row(["bcd", "", "3", ""])];
        let columns = [Column::Left, Column::Left, Column::Right, Column::Left];
        assert_eq!(table(&rows, &columns), "ä    12  x\nbcd   3\n");
    }
}
