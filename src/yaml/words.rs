//! Words for messages: names shown safely, and what somebody probably meant.

/// Enough of a text to know it again, on one line and harmless to a terminal.
#[must_use]
pub fn shown(text: &str) -> String {
    const ENOUGH: usize = 40;
    let mut out = printable(text.chars().take(ENOUGH).collect());
    if text.chars().nth(ENOUGH).is_some() {
        out.push('…');
    }
    out
}

/// The text with escapes for what is not safe to print.
pub(super) fn printable(text: String) -> String {
    if text.chars().all(is_visible) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_visible(c) { out.push(c) } else { out.extend(c.escape_unicode()) }
    }
    out
}

/// Whether a character is safe to print: no control, nothing that hides or turns what follows it.
pub(super) fn is_visible(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// "`a`, `b` or `c`".
#[must_use]
pub fn alternatives(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// The name that `word` most probably stands for; `None` if none is near. The first of equals.
#[must_use]
pub fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    // A third of the letters may be wrong: more, and the guess is worse than a list of what there is.
    let limit = (word.chars().count() / 3).clamp(1, 4);
    names
        .iter()
        .map(|n| (distance(word, n), *n))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, n)| n)
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour; case does not count.
fn distance(a: &str, b: &str) -> usize {
    // Nobody mistypes a key of that length, and the work grows with its square.
    const LONG: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (letters(a, LONG), letters(b, LONG));
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let mut best =
                (at(&above, j) + usize::from(x != y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

fn letters(s: &str, at_most: usize) -> Vec<char> {
    s.chars().take(at_most).flat_map(char::to_lowercase).collect()
}
