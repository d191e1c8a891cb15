//! Secrets in texts that are shown to people.
//!
//! Owns the names that sound like a secret and where the value after one ends. Invariant: rather too
//! much is hidden than too little.

/// Names after which a value is not shown, in lower case.
const SECRET_NAMES: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "authorization",
    "credential",
    "private_key",
    "cookie",
];

/// Words that stand before a secret of an HTTP header.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];

/// What is shown instead.
const HIDDEN: &str = "***";

/// Hides what is assigned to names that sound like secrets, and passwords within URLs.
pub(super) fn redact(text: &str) -> String {
    let text = without_url_passwords(text);
    // The same length in bytes, so that places agree.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    while let Some(after_name) = next_name(&lower, kept) {
        out.push_str(&text[kept..after_name]);
        kept = after_name;
        if let Some((from, to)) = assigned_value(&lower, after_name) {
            out.push_str(&text[kept..from]);
            out.push_str(HIDDEN);
            kept = to;
        }
    }
    out.push_str(&text[kept..]);
    out
}

/// Where the first secret-sounding name after `from` ends.
fn next_name(lower: &str, from: usize) -> Option<usize> {
    SECRET_NAMES
        .iter()
        .filter_map(|name| lower[from..].find(name).map(|at| (at, from + at + name.len())))
        .min()
        .map(|(_, end)| end)
}

/// The range of the value in `name=value`, `'name': 'value'` and the like.
fn assigned_value(text: &str, after_name: usize) -> Option<(usize, usize)> {
    let rest = &text[after_name..];
    // The rest of the identifier (`secret_name`), its closing quote, the sign, spaces.
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let unquoted = rest.trim_start_matches(is_part).trim_start_matches(['\'', '"', ' ']);
    let value = unquoted.strip_prefix([':', '='])?.trim_start();
    let from = text.len() - value.len();
    let mut len = value_len(value);
    if SCHEMES.contains(&&value[..len]) {
        let after = &value[len..];
        len = value.len() - after.trim_start().len();
        len += value_len(&value[len..]);
    }
    Some((from, from + len))
}

/// How long the value at the start of a text is: up to the comma, space or closing bracket that
/// follows it, with what is in quotes or brackets.
fn value_len(text: &str) -> usize {
    let mut depth = 0;
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (quote, character) {
            (Some(_), '\\') => _ = characters.next(),
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') if depth == 0 => return at,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => return at,
            (None, space) if depth == 0 && space.is_whitespace() => return at,
            (None, _) => {}
        }
    }
    text.len()
}

/// Hides the password of `scheme://user:password@host`.
fn without_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let end = after.find(['/', ' ', '\'', '"', '>']).unwrap_or(after.len());
        let (authority, after) = after.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => out.push_str(&format!("{user}:{HIDDEN}@{host}")),
            _ => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
