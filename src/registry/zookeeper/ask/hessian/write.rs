//! Texts and maps of them, which is all that a call sends.

/// Appends `text`.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    /// In Java's characters; a length has 16 bits.
    const PIECE: usize = 0x8000;
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut pieces = units.chunks(PIECE).peekable();
    if pieces.peek().is_none() {
        out.push(0x00);
    }
    while let Some(piece) = pieces.next() {
        out.push(if pieces.peek().is_some() { b'R' } else { b'S' });
        out.extend(u16::try_from(piece.len()).unwrap_or_default().to_be_bytes());
        piece.iter().for_each(|unit| write_unit(out, *unit));
    }
}

/// One of Java's characters: halves of pairs are written one by one.
fn write_unit(out: &mut Vec<u8>, unit: u16) {
    let six = |shift: u16| u8::try_from((unit >> shift) & 0x3f).unwrap_or_default();
    match unit {
        0x00..=0x7f => out.push(six(0) | u8::try_from(unit & 0x40).unwrap_or_default()),
        0x80..=0x7ff => out.extend([0xc0 | six(6), 0x80 | six(0)]),
        _ => out.extend([0xe0 | u8::try_from(unit >> 12).unwrap_or_default(), 0x80 | six(6), 0x80 | six(0)]),
    }
}

/// Appends a map of texts.
pub(crate) fn write_map(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.push(b'H');
    for (key, value) in pairs {
        write_text(out, key);
        write_text(out, value);
    }
    out.push(b'Z');
}
