//! A fault as a person wants to see it: file, line, column, what is wrong, and the line itself with a mark.

use std::fmt;

use super::Fault;
use super::words::is_visible;

/// Whether colours may be used. Who prints knows whether a terminal reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// None.
    #[default]
    Plain,
    /// ANSI's.
    Colour,
}

impl Style {
    fn paint(self, f: &mut fmt::Formatter<'_>, colour: &str, text: fmt::Arguments<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_fmt(text),
            Self::Colour => write!(f, "\u{1b}[{colour}m{text}\u{1b}[0m"),
        }
    }
}

const RED: &str = "1;31";
const BLUE: &str = "34";
const BOLD: &str = "1";

/// Shows one fault. Several lines, none of them ended.
#[derive(Debug, Clone, Copy)]
pub struct Excerpt<'a> {
    /// The text's name, as its reader knows it.
    pub file: &'a str,
    /// The whole text.
    pub text: &'a str,
    /// What is wrong with it.
    pub fault: &'a Fault,
    /// How to show it.
    pub style: Style,
}

/// How much of a line is shown. Wider ones wrap in most terminals, and the mark is lost.
const WIDTH: usize = 100;

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, style) = (self.fault.at, self.style);
        if at.line == 0 {
            style.paint(f, BOLD, format_args!("{}", self.file))?;
            return write!(f, ": {}", self.fault.message);
        }
        style.paint(f, BOLD, format_args!("{}:{at}", self.file))?;
        write!(f, ": {}", self.fault.message)?;
        let Some(line) = line(self.text, at.line) else { return Ok(()) };
        let column = (at.column as usize).saturating_sub(1);
        // The marked place stands at a third of what is shown, so that what leads to it can be seen.
        let skip = if line.chars().count() > WIDTH { column.saturating_sub(WIDTH / 3) } else { 0 };
        let shown: String =
            line.chars().skip(skip).take(WIDTH).map(|c| if is_visible(c) { c } else { ' ' }).collect();
        let before = (column - skip).min(shown.chars().count());
        let width = (at.width as usize).clamp(1, (shown.chars().count() - before).max(1));
        let number = at.line.to_string();
        writeln!(f)?;
        style.paint(f, BLUE, format_args!("  {number} | "))?;
        writeln!(f, "{}", shown.trim_end())?;
        style.paint(f, BLUE, format_args!("  {:1$} | ", "", number.len()))?;
        write!(f, "{:before$}", "")?;
        style.paint(f, RED, format_args!("{}", "^".repeat(width)))
    }
}

/// The line of this number as YAML counts lines: a return alone ends one too.
fn line(text: &str, number: u32) -> Option<&str> {
    let mut rest = text;
    for _ in 1..number {
        let end = rest.find(['\n', '\r'])?;
        let width = if rest.get(end..)?.starts_with("\r\n") { 2 } else { 1 };
        rest = rest.get(end + width..)?;
    }
    rest.get(..rest.find(['\n', '\r']).unwrap_or(rest.len()))
}
