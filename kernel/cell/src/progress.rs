//! How far a running statement is, as a bar and as a line of text.

use std::fmt::Write;

use crate::bundle::{MimeBundle, escape};
use crate::caption::{bytes, rough, seconds};

/// How far a statement is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Rows so far.
    pub rows: u64,
    /// Bytes read so far.
    pub bytes_scanned: u64,
    /// Bytes to read in all; 0 if unknown.
    pub bytes_total: u64,
    /// Seconds so far.
    pub seconds: f64,
    /// What is being done.
    pub stage: String,
    /// The part that is done, 0 to 1, if that is known.
    pub fraction: Option<f64>,
}

/// The bar with its line: `42 %, 31 M rows, 12 s, ETA 17 s`.
pub fn progress_bundle(progress: &Progress) -> MimeBundle {
    let line = line(progress);
    let bar = match fraction(progress) {
        Some(fraction) => format!("<progress max=\"100\" value=\"{:.0}\"></progress>", fraction * 100.0),
        None => "<progress></progress>".to_owned(),
    };
    MimeBundle::text(line.as_str()).html(format!("<div>{bar} {}</div>", escape(&line)))
}

/// What stands in the bar's place once the statement ended.
pub fn ended_bundle(line: &str) -> MimeBundle {
    MimeBundle::text(line).html(format!("<div style=\"opacity:.75\">{}</div>", escape(line)))
}

fn fraction(progress: &Progress) -> Option<f64> {
    let fraction = match progress.fraction {
        Some(fraction) => fraction,
        None if progress.bytes_total > 0 => progress.bytes_scanned as f64 / progress.bytes_total as f64,
        None => return None,
    };
    fraction.is_finite().then(|| fraction.clamp(0.0, 1.0))
}

fn line(progress: &Progress) -> String {
    let mut parts = Vec::with_capacity(6);
    let fraction = fraction(progress);
    if let Some(fraction) = fraction {
        parts.push(format!("{:.0} %", fraction * 100.0));
    }
    if !progress.stage.is_empty() {
        parts.push(progress.stage.clone());
    }
    if progress.rows > 0 {
        parts.push(format!("{} rows", rough(progress.rows)));
    }
    if progress.bytes_scanned > 0 {
        let mut part = bytes(progress.bytes_scanned);
        if progress.bytes_total > 0 {
            let _ = write!(part, " of {}", bytes(progress.bytes_total));
        }
        parts.push(part);
    }
    parts.push(seconds(progress.seconds));
    if let Some(fraction) = fraction.filter(|fraction| (0.05..1.0).contains(fraction)) {
        parts.push(format!("ETA {}", seconds(progress.seconds * (1.0 - fraction) / fraction)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_known() {
        let progress =
            Progress { rows: 31_000_000, seconds: 12.0, fraction: Some(0.42), ..Progress::default() };
        let bundle = progress_bundle(&progress);
        assert_eq!(bundle.get("text/plain").unwrap(), "42 %, 31 M rows, 12 s, ETA 17 s");
        assert!(bundle.get("text/html").unwrap().contains("<progress max=\"100\" value=\"42\">"));
    }

    #[test]
    fn nothing_is_made_up() {
        let unknown = Progress { seconds: 1.0, stage: "reading".to_owned(), ..Progress::default() };
        assert_eq!(progress_bundle(&unknown).get("text/plain").unwrap(), "reading, 1.0 s");
        let strange = Progress { fraction: Some(f64::NAN), seconds: 1.0, ..Progress::default() };
        assert_eq!(progress_bundle(&strange).get("text/plain").unwrap(), "1.0 s");
    }
}
