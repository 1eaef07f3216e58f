//! A first look into text files: where their data begins, what stands between values, whether JSON is one array. What was said is kept.

use carrel_cell::problem::{Ename, Problem};
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use super::Files;
use crate::config::Format;
use crate::place::{Place, unreadable};

/// Bytes that are looked at.
const LOOK: u64 = 1 << 16;

/// Most lines at the beginning of a file that can be left out.
const MOST_SKIPPED: u64 = 10_000;

/// Files that are looked at at the same time.
const ABREAST: usize = 32;

/// What may stand between values, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The files, with what was found out about how they are read.
pub(super) async fn into(mut files: Files, place: &Place, label: &str) -> Result<Files, Problem> {
    let skip = files.reading.skip;
    if skip > 0 {
        if !files.plain_text() || skip > MOST_SKIPPED {
            return Err(Problem::new(
                Ename::BadOption,
                format!("skip takes at most {MOST_SKIPPED} lines, of files that are not packed"),
            ));
        }
        let mut looks = Vec::new();
        for file in &files.list {
            looks.push(beginning_of_data(&files, place, file));
        }
        let skipped: std::io::Result<Vec<u64>> = stream::iter(looks).buffered(ABREAST).try_collect().await;
        files.skipped = skipped.map_err(|error| unreadable(label, &error))?;
    }
    let wanted = match files.format {
        Format::Csv => files.reading.delimiter.is_none(),
        Format::Ndjson => files.reading.array.is_none(),
        _ => false,
    };
    if !wanted || !files.plain_text() {
        return Ok(files);
    }
    let Some(at) = files.list.iter().position(|file| file.size > 0) else { return Ok(files) };
    let from = files.skipped.get(at).copied().unwrap_or_default();
    let look = files.beginning(place, &files.list[at], from + LOOK).await;
    let look = look.map_err(|error| unreadable(label, &error))?;
    let look = look.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    match files.format {
        Format::Csv => {
            let quote = files.reading.quote.unwrap_or(b'"');
            files.reading.delimiter = Some(delimiter(look, quote, files.reading.comment));
        }
        _ => {
            let first = look.iter().find(|byte| !byte.is_ascii_whitespace());
            files.reading.array = Some(first == Some(&b'['));
        }
    }
    Ok(files)
}

/// The byte behind the lines that are left out.
async fn beginning_of_data(files: &Files, place: &Place, file: &ObjectMeta) -> std::io::Result<u64> {
    let mut bytes = LOOK;
    loop {
        let look = files.beginning(place, file, bytes).await?;
        let ends = look.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let wanted = usize::try_from(files.reading.skip).unwrap_or(usize::MAX).saturating_sub(1);
        match ends.map(|(at, _)| at as u64 + 1).nth(wanted) {
            Some(begin) => return Ok(begin),
            None if look.len() as u64 >= file.size => return Ok(file.size),
            None => bytes *= 4,
        }
    }
}

/// What stands between the values of these lines: what is there as often in every line.
fn delimiter(look: &[u8], quote: u8, comment: Option<u8>) -> u8 {
    let mut records: Vec<[usize; DELIMITERS.len()]> = Vec::new();
    let mut counts = [0; DELIMITERS.len()];
    let (mut quoted, mut begins, mut ignored, mut bytes) = (false, true, false, 0);
    for byte in look {
        if begins {
            ignored = Some(*byte) == comment;
            begins = false;
        }
        match byte {
            byte if *byte == quote => quoted = !quoted,
            b'\n' if !quoted => {
                if !ignored && bytes > 0 {
                    records.push(counts);
                }
                (counts, begins, bytes) = ([0; DELIMITERS.len()], true, 0);
                continue;
            }
            _ if quoted => {}
            byte => {
                if let Some(at) = DELIMITERS.iter().position(|known| known == byte) {
                    counts[at] += 1;
                }
            }
        }
        bytes += usize::from(*byte != b'\r');
    }
    // a last line without an end may be cut
    if records.is_empty() && bytes > 0 {
        records.push(counts);
    }
    let Some(header) = records.first() else { return b',' };
    let same = |at: &usize| header[*at] > 0 && records.iter().all(|counts| counts[*at] == header[*at]);
    let found = (0..DELIMITERS.len()).find(same);
    // lines that differ are for who reads them to tell; a comma in the header is trusted
    DELIMITERS[found.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_values() {
        for (text, wanted) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n1;2\n", b';'),
            ("a;b\n1,5;2,5\n", b';'),
            ("a\tb\n1\t2", b'\t'),
            ("a|b|c\n1|2|3\n", b'|'),
            ("a\n1\n", b','),
            ("a,b\n\"x;y\",2\n", b','),
            ("a;b\n\"x\n;y\";2\n", b';'),
            ("# a,b\na;b\n1;2\n", b';'),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes(), b'"', Some(b'#')), wanted, "{text}");
        }
    }
}
