//! Values that must not be seen. Each has a twin that names a file, and only in them `${NAME}` is an environment variable.
//!
//! A fault never repeats what was written, and [`hide`] takes it out of the lines that a person is shown.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::security::secret::{Secret, SecretText};
use crate::yaml::fields::Fields;
use crate::yaml::words::{nearest, shown as shown_text};
use crate::yaml::{Fault, Node};

/// A key of a secret, and the twin that names a file.
pub(super) type Twins = (&'static str, &'static str);

/// A token.
pub(super) const TOKEN: Twins = ("token", "tokenFile");
/// A password.
pub(super) const PASSWORD: Twins = ("password", "passwordFile");

/// What stands behind these keys is hidden; what stands behind the others is not, as near as they may be.
const KEYS: [(&str, bool); 4] = [(TOKEN.0, true), (TOKEN.1, false), (PASSWORD.0, true), (PASSWORD.1, false)];

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Reads a secret or its twin; `None` if neither is there.
pub(super) fn take(f: &mut Fields<'_, '_>, (key, file): Twins, base: &Path) -> Option<Secret> {
    let text = f.get(key, text);
    let named = f.entry(file);
    let path = named.and_then(|entry| f.findings().note(path(&entry.value, base)));
    match (text, path) {
        (Some(_), Some(_)) => {
            let words = format!("`{key}` and `{file}` say the same: write one of them");
            f.findings().push(Fault::new(named.map_or(f.at(), |e| e.at), words));
            None
        }
        (Some(text), None) => Some(Secret::Text(text)),
        (None, path) => path.map(Secret::File),
    }
}

/// A key and its value for `shown`: the path of a file, never the secret itself.
pub(super) fn shown((key, file): Twins, secret: &Secret) -> (String, Value) {
    match secret {
        Secret::Text(_) => (key.into(), json!(HIDDEN)),
        Secret::File(path) => (file.into(), json!(path.display().to_string())),
    }
}

/// A path relative to the configuration file.
pub(super) fn path(node: &Node, base: &Path) -> Result<PathBuf, Fault> {
    match node.text()? {
        "" => Err(node.fault("must not be empty: write the path of a file")),
        text => Ok(base.join(text)),
    }
}

fn text(node: &Node) -> Result<SecretText, Fault> {
    let text = node.text().map_err(|_| node.fault("expected text"))?;
    let whole = expand(text, |name| std::env::var(name).ok()).map_err(|words| node.fault(words))?;
    if whole.trim().is_empty() {
        return Err(node.fault("must not be empty: leave the key out instead"));
    }
    Ok(SecretText::new(whole))
}

/// `text` with variables in place of their names; `$${` stands for `${`.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after
            .split_once('}')
            .ok_or("`${` is not closed: write `${NAME}`, or `$${` for these two characters")?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(legal) {
            return Err("`${…}` takes the name of an environment variable: letters, digits and `_`".into());
        }
        let value = variable(name);
        out.push_str(before);
        out.push_str(&value.ok_or_else(|| {
            format!("the environment has no `{}`: set it, or name a file", shown_text(name))
        })?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// `text` without what may be secret in it, every character in its place: lines behind keys that are or resemble those of
/// secrets, and users and passwords in addresses. Works on the text because what is malformed has no tree.
pub(super) fn hide(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive(['\n', '\r']) {
        let from = secret_from(line).unwrap_or(line.len());
        let (open, secret) = line.split_at(from);
        hide_logins(open, &mut out);
        out.extend(secret.chars().map(|c| if c.is_whitespace() { c } else { '*' }));
    }
    out
}

/// Where the value of the first key of a secret begins.
fn secret_from(line: &str) -> Option<usize> {
    let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
    line.match_indices(':').find_map(|(colon, _)| {
        let before = line.get(..colon)?.trim_end().trim_end_matches(['"', '\'']);
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        let near = nearest(before.get(start..)?, &names)?;
        KEYS.iter().any(|(name, secret)| *name == near && *secret).then_some(colon + 1)
    })
}

/// Hides `user:password` of `http://user:password@host`.
fn hide_logins(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(['/', '"', '\'', ',', ' ', '\t', '\n', '\r']).unwrap_or(after.len());
        // A password may hold a slash by mistake; hide too much rather than too little.
        let login = after
            .rfind('@')
            .filter(|at| *at < end || !after.get(..*at).is_some_and(|l| l.contains(char::is_whitespace)));
        let (login, host) = after.split_at(login.unwrap_or(0));
        out.extend(login.chars().map(|_| '*'));
        rest = host;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_and_never_guessed() {
        let variable = |name: &str| (name == "A_1").then(|| "x${A_1}".to_owned());
        assert_eq!(expand("p${A_1}q$", variable).unwrap(), "px${A_1}q$");
        assert_eq!(expand("$${A_1}", variable).unwrap(), "${A_1}");
        for bad in ["${A_1", "${}", "${a b}", "${B}"] {
            assert!(expand(bad, variable).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_person_is_shown_has_no_secrets() {
        for (line, want) in [
            ("token: abc def\n", "token: *** ***\n"),
            ("  - {\"tokne\": abc}\n", "  - {\"tokne\": ****\n"),
            ("passwordFile: secret.txt", "passwordFile: secret.txt"),
            ("address: http://me:pw@h:1/x # y", "address: http://*****@h:1/x # y"),
            ("a: [http://h/x, \"https://u:p/w@h\"]", "a: [http://h/x, \"https://*****@h\"]"),
            ("time: 10:30", "time: 10:30"),
        ] {
            assert_eq!(hide(line), want);
            assert_eq!(hide(line).chars().count(), line.chars().count());
        }
    }
}
