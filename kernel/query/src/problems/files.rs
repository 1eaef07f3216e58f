//! What readers of text files say, in words that help whoever has the file.

use carrel_cell::problem::{Ename, Problem};

use super::text::clean;

/// A file of text that cannot be read.
pub(super) fn text_file(message: &str) -> Problem {
    let message = clean(message);
    let problem = |text: String| Problem::new(Ename::CorruptFile, format!("a file cannot be read: {text}"));
    if message.contains("UTF-8") {
        let at = message.rfind(" in field ").map(|at| message[at..].trim().to_owned());
        let text = at.map_or("it is not UTF-8".to_owned(), |at| format!("it is not UTF-8 ({at})"));
        return problem(text).hint("convert it in a terminal: iconv -f latin1 -t utf-8 old.csv > new.csv");
    }
    let uneven = between(&message, "Expected ", " records, found ")
        .zip(between(&message, " records, found ", " records at line "))
        .zip(message.rsplit_once(" at line ").map(|(_, line)| line))
        .map(|((wanted, found), line)| {
            format!("line {line} has {found} values, where {wanted} were expected")
        });
    let more = between(&message, "incorrect number of fields for line ", ", expected ")
        .zip(message.split_once(", expected "))
        .and_then(|(row, (_, rest))| Some((row, rest.split_once(" got ")?)))
        .map(|(row, (wanted, found))| {
            format!("row {row} has {} values, where {wanted} were expected", found.trim())
        });
    match uneven.or(more) {
        Some(text) => problem(text).hint(
            "quote values that hold the delimiter; read_csv('…', null_padding = true) takes rows that are too short",
        ),
        None => problem(message),
    }
}

/// A packed file that cannot be unpacked, if that is what this says.
pub(super) fn packed_file(message: &str) -> Option<Problem> {
    let said = message.to_lowercase();
    ["gzip", "deflate", "zstd", "frame descriptor"].iter().any(|word| said.contains(word)).then(|| {
        let text = format!("a packed file cannot be unpacked: {}", clean(message));
        Problem::new(Ename::CorruptFile, text).hint("its name ends in .gz or .zst: is it packed that way?")
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_lengths_and_other_encodings() {
        for (said, told) in [
            (
                "Encountered unequal lengths between records on CSV file. Expected 3 records, found 2 records at line 3",
                "a file cannot be read: line 3 has 2 values, where 3 were expected",
            ),
            (
                "incorrect number of fields for line 1, expected 2 got more than 2 (x.csv)",
                "a file cannot be read: row 1 has more than 2 (x.csv) values, where 2 were expected",
            ),
            (
                "Encountered UTF-8 error while reading CSV file: invalid utf-8: invalid UTF-8 in field 1 near byte index 3 at line 2",
                "a file cannot be read: it is not UTF-8 (in field 1 near byte index 3 at line 2)",
            ),
        ] {
            assert_eq!(text_file(said).message, told);
        }
        assert!(packed_file("Invalid gzip header").is_some() && packed_file("not a plain file").is_none());
    }
}
