//! Aligned columns as kubectl prints them: upper-case heads, three spaces between.
//!
//! What stands in a cell may come from a server or a registry, so nothing in it reaches the terminal as a control
//! character.

use std::fmt::Write;

/// Between columns.
const GAP: usize = 3;

/// What a cell's colour says; nothing where there are no colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// Nothing to say.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Will pass, or should be looked at.
    Doubtful,
    /// Wrong.
    Bad,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Doubtful => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell whose colour says something.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text = text.into().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        Self { text, tone }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows that wait to be printed, and the widths that were needed so far.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
    colours: bool,
}

impl Table {
    /// Columns under `heads`; the heads are the first row to be printed.
    pub(crate) fn new(heads: &[&str], colours: bool) -> Self {
        let mut table = Self { rows: Vec::new(), widths: Vec::new(), colours };
        table.push(heads.iter().map(|h| Cell::from(*h)).collect());
        table
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.widths.resize(self.widths.len().max(row.len()), 0);
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(row);
    }

    /// The rows that wait, as text. Later rows align with them as far as they fit.
    pub(crate) fn flush(&mut self) -> String {
        let mut out = String::new();
        for row in std::mem::take(&mut self.rows) {
            let last = row.len().saturating_sub(1);
            for (i, (cell, width)) in row.iter().zip(&self.widths).enumerate() {
                self.paint(cell, &mut out);
                if i < last {
                    out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + GAP));
                }
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }

    fn paint(&self, cell: &Cell, out: &mut String) {
        match cell.tone.code().filter(|_| self.colours) {
            // Writing to a string cannot fail.
            Some(code) => drop(write!(out, "\x1b[{code}m{}\x1b[0m", cell.text)),
            None => out.push_str(&cell.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_in_no_space() {
        let mut t = Table::new(&["NAME", "HOSTS", "X"], false);
        t.push(vec!["a".into(), "long.example".into(), "".into()]);
        t.push(vec!["longer".into(), "".into(), "1".into()]);
        let want = "NAME     HOSTS          X\na        long.example\nlonger                  1\n";
        assert_eq!(t.flush(), want);
        t.push(vec!["b".into(), "h".into(), "2".into()]);
        assert_eq!(t.flush(), "b        h              2\n");
        assert_eq!(t.flush(), "");
    }

    #[test]
    fn colours_shift_no_column_and_appear_only_where_wanted() {
        let row = || vec![Cell::toned("NACK", Tone::Bad), "x".into()];
        let mut t = Table::new(&["STATE", "Y"], true);
        t.push(row());
        assert_eq!(t.flush(), "STATE   Y\n\x1b[31mNACK\x1b[0m    x\n");
        let mut t = Table::new(&["STATE", "Y"], false);
        t.push(row());
        assert_eq!(t.flush(), "STATE   Y\nNACK    x\n");
    }

    #[test]
    fn no_control_character_of_a_cell_reaches_the_terminal() {
        let mut t = Table::new(&["A"], true);
        t.push(vec!["a\x1b[2Jb\nc".into()]);
        assert_eq!(t.flush(), "A\na\u{fffd}[2Jb\u{fffd}c\n");
    }
}
