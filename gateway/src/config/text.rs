//! Reading TOML so that a person sees what is wrong, where, and what was probably meant.

use serde::{Deserialize, Deserializer, de};

/// Reads a table.
pub(super) fn parse(text: &str) -> Result<toml::Table, String> {
    text.parse().map_err(|e: toml::de::Error| explain(text, &e))
}

/// A TOML error as one line.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|s| text.get(..s.start)).map(|before| before.matches('\n').count() + 1);
    let place = line.map_or_else(String::new, |n| format!("line {n}: "));
    format!("{place}{}", error.message().trim_end())
}

/// The line that a key stands on, for a message.
pub(super) fn line_of(text: &str, needle: &str) -> Option<usize> {
    text.lines()
        .position(|l| {
            let l = l.trim_start().trim_start_matches('[').trim_start();
            l.strip_prefix(needle).is_some_and(|after| after.trim_start().starts_with(['=', ']', '.']))
        })
        .map(|n| n + 1)
}

/// The known word that looks most like `wrong`.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        // "memory" means memory_limit, however much is missing
        .map(|k| {
            if wrong.len() >= 4 && k.starts_with(wrong) {
                (1, k)
            } else {
                (strsim::damerau_levenshtein(wrong, k), k)
            }
        })
        .filter(|(distance, k)| *distance <= 1 + k.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// `90`, `30s`, `15m`, `8h`, `2d`: seconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let unit = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// `512`, `64KB`, `1.5GiB`: all units count in 1024s, as people mean them.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let number: f64 = number.parse().ok()?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "saturates; sizes are far below 2^53"
    )]
    let bytes = (number * (1_u64 << shift) as f64) as u64;
    Some(bytes)
}

/// A size as a number of bytes or a text such as `"512MiB"`.
pub(super) fn size<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Bytes(u64),
        Text(String),
    }
    match Size::deserialize(d)? {
        Size::Bytes(n) => Ok(n),
        Size::Text(t) => {
            parse_size(&t).ok_or_else(|| de::Error::custom(format!("{t:?} is not a size such as \"512MiB\"")))
        }
    }
}

/// The same where it may be left out.
pub(super) fn some_size<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    size(d).map(Some)
}
