//! A first look into text files: where their data begins, what stands between values, what the columns are called, whether JSON is one
//! array. What was said is kept.

use std::io::Read;

use carrel_cell::problem::{Ename, Problem};
use flate2::read::MultiGzDecoder;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Files, Reading};
use crate::catalog::Packed;
use crate::config::Format;
use crate::place::{Place, unreadable};

/// Bytes that are looked at.
const LOOK: u64 = 1 << 18;

/// Bytes at the beginning that hold a header.
const HEADER: u64 = 1 << 16;

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
            let text = format!("skip takes at most {MOST_SKIPPED} lines, of files that are not packed");
            return Err(Problem::new(Ename::BadOption, text));
        }
        files.skipped = in_each(&files, label, |files, at| lines_skipped(files, place, at)).await?;
    }
    let text = matches!(files.format, Format::Csv | Format::Ndjson) && files.packed != Packed::Zstd;
    let Some(at) = files.list.iter().position(|file| file.size > 0).filter(|_| text) else {
        return Ok(files);
    };
    let (look, whole) =
        beginning(&files, place, at, LOOK).await.map_err(|error| unreadable(label, &error))?;
    if files.format == Format::Ndjson {
        let first = look.iter().find(|byte| !byte.is_ascii_whitespace());
        files.reading.array.get_or_insert(first == Some(&b'['));
        return Ok(files);
    }
    let (quote, comment) = (files.reading.quote.unwrap_or(b'"'), files.reading.comment);
    files.reading.delimiter.get_or_insert_with(|| delimiter(&look, quote, comment));
    if files.reading.columns.is_none() {
        files.zeros = zeros(&look, whole, &files.reading);
    }
    if files.reading.header != Some(false) && files.plain_text() {
        names(files, place, label, &look).await
    } else {
        Ok(files)
    }
}

/// Asks each file for a number.
async fn in_each<'a, F>(
    files: &'a Files,
    label: &str,
    ask: impl Fn(&'a Files, usize) -> F,
) -> Result<Vec<u64>, Problem>
where
    F: Future<Output = std::io::Result<u64>> + Send + 'a,
{
    let mut looks = Vec::new();
    for at in 0..files.list.len() {
        looks.push(ask(files, at));
    }
    let found: std::io::Result<Vec<u64>> = stream::iter(looks).buffered(ABREAST).try_collect().await;
    found.map_err(|error| unreadable(label, &error))
}

/// The beginning of a file's data, unpacked, and whether it is all of it.
async fn beginning(files: &Files, place: &Place, at: usize, bytes: u64) -> std::io::Result<(Vec<u8>, bool)> {
    let Some(file) = files.list.get(at) else { return Ok((Vec::new(), true)) };
    let from = files.skipped.get(at).copied().unwrap_or_default();
    let look = files.beginning(place, file, from + bytes).await?;
    let whole = look.len() as u64 == file.size;
    let look = look.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    if files.packed != Packed::Gzip {
        return Ok((look.to_vec(), whole));
    }
    let mut unpacked = Vec::new();
    // it may be cut in the middle; what is broken is for who reads it all to tell
    let ended = MultiGzDecoder::new(look).take(bytes).read_to_end(&mut unpacked).is_ok();
    Ok((unpacked, whole && ended))
}

/// The byte behind the lines that are left out.
async fn lines_skipped(files: &Files, place: &Place, at: usize) -> std::io::Result<u64> {
    let Some(file) = files.list.get(at) else { return Ok(0) };
    let mut bytes = HEADER;
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

fn reader<'a>(look: &'a [u8], reading: &Reading) -> csv::Reader<&'a [u8]> {
    let quote = reading.quote.unwrap_or(b'"');
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(reading.delimiter.unwrap_or(b','))
        .quote(quote)
        .quoting(quote != 0)
        .escape(reading.escape.filter(|escape| *escape != quote))
        .comment(reading.comment)
        .from_reader(look)
}

/// The columns that have a number with a zero in front: postcodes, account numbers. As numbers they would lose it.
fn zeros(look: &[u8], whole: bool, reading: &Reading) -> Vec<usize> {
    let mut found = Vec::new();
    let mut records = reader(look, reading).into_byte_records().flatten().peekable();
    if reading.header != Some(false) {
        records.next();
    }
    while let Some(record) = records.next() {
        // the last one may be cut
        if records.peek().is_none() && !whole {
            break;
        }
        for (at, value) in record.iter().enumerate() {
            let led = value.len() > 1 && value[0] == b'0' && value.iter().all(u8::is_ascii_digit);
            if led && !found.contains(&at) {
                found.push(at);
            }
        }
    }
    found
}

/// The names in a header, and where the data begin behind it.
fn header(look: &[u8], reading: &Reading) -> (Vec<String>, u64) {
    let look_ = look.strip_prefix(b"\xef\xbb\xbf").unwrap_or(look);
    let mut reader = reader(look_, reading);
    let mut record = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut record).unwrap_or(false) {
        return (Vec::new(), 0);
    }
    let names = record.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    (names, reader.position().byte() + (look.len() - look_.len()) as u64)
}

/// Names by which columns can be told from each other: without white space around them, none empty, none twice.
fn told_apart(names: &[String]) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    let mut made = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let plain = match name.trim() {
            "" => format!("column{at}"),
            name => name.to_owned(),
        };
        let mut this = plain.clone();
        let mut n = 0;
        while taken.contains(&this.to_lowercase()) {
            n += 1;
            this = format!("{plain}_{n}");
        }
        taken.push(this.to_lowercase());
        made.push(this);
    }
    made
}

/// Where names in the header cannot stay as they are, the header is passed over and the names are given.
async fn names(mut files: Files, place: &Place, label: &str, look: &[u8]) -> Result<Files, Problem> {
    let (found, _) = header(look, &files.reading);
    let apart = told_apart(&found);
    if apart == found {
        return Ok(files);
    }
    let ends = in_each(&files, label, |files, at| {
        let found = found.clone();
        async move {
            let (look, whole) = beginning(files, place, at, HEADER).await?;
            let (names, end) = header(&look, &files.reading);
            if names != found && !(names.is_empty() && whole) {
                let problem = Problem::new(Ename::CorruptFile, "the headers of its files differ").hint(
                    "files of text have their columns by position: name files of one kind by their path",
                );
                return Err(std::io::Error::other(problem));
            }
            Ok(end)
        }
    });
    let ends = ends.await?;
    let before = |at: usize| files.skipped.get(at).copied().unwrap_or_default();
    files.skipped = ends.into_iter().enumerate().map(|(at, end)| before(at) + end).collect();
    let told = std::mem::take(&mut files.reading.names);
    files.reading.names = told.iter().chain(apart.iter().skip(told.len())).cloned().collect();
    files.reading.header = Some(false);
    Ok(files)
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

    #[test]
    fn numbers_that_are_names() {
        let of = |text: &str, whole| zeros(text.as_bytes(), whole, &Reading::default());
        assert_eq!(of("n,zip,x\n1,01234,0\n2,9,0.5\n", true), [1]);
        assert_eq!(of("n,zip\n1,2\n1,01", false), Vec::<usize>::new(), "the last line may be cut");
    }

    #[test]
    fn names_are_told_apart() {
        let names = |all: &[&str]| told_apart(&all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["a", "a", "A", " b ", ""]), ["a", "a_1", "A_2", "b", "column4"]);
        assert_eq!(
            header(b"\xef\xbb\xbfa,\"b\nc\"\n1,2\n", &Reading::default()),
            (vec!["a".into(), "b\nc".into()], 11)
        );
    }
}
