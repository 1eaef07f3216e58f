//! Names that the server chooses: untitled files and copies.

/// Candidates for a new name, best first: the name itself, then with `insert` and a number before the suffix.
/// The suffix begins at the first dot (`.tar.gz`), for notebooks at the last.
pub(crate) fn candidates(name: &str, insert: &str) -> impl Iterator<Item = String> {
    let at = if name.ends_with(".ipynb") {
        name.len() - ".ipynb".len()
    } else {
        name.find('.').unwrap_or(name.len())
    };
    let (base, suffix) = name.split_at(at);
    let (base, suffix, insert) = (base.to_owned(), suffix.to_owned(), insert.to_owned());
    (0..u32::MAX).map(move |n| match n {
        0 => format!("{base}{suffix}"),
        n => format!("{base}{insert}{n}{suffix}"),
    })
}

/// The name that copies of `name` count up from: `a-Copy2.txt` is a copy of `a.txt`.
pub(crate) fn without_copy_mark(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("-Copy") {
        let after = rest[at + "-Copy".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
        if after.starts_with('.') {
            out.push_str(&rest[..at]);
            rest = after;
        } else {
            out.push_str(&rest[..at + "-Copy".len()]);
            rest = &rest[at + "-Copy".len()..];
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, insert: &str, expect: [&str; 3]) {
        assert_eq!(candidates(name, insert).take(3).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn counting_up() {
        check("Untitled.ipynb", "", ["Untitled.ipynb", "Untitled1.ipynb", "Untitled2.ipynb"]);
        check("untitled", "", ["untitled", "untitled1", "untitled2"]);
        check("Untitled Folder", " ", ["Untitled Folder", "Untitled Folder 1", "Untitled Folder 2"]);
        check("a.tar.gz", "-Copy", ["a.tar.gz", "a-Copy1.tar.gz", "a-Copy2.tar.gz"]);
        check("v1.2.ipynb", "-Copy", ["v1.2.ipynb", "v1.2-Copy1.ipynb", "v1.2-Copy2.ipynb"]);
    }

    #[test]
    fn copies_of_copies() {
        for (name, base) in [
            ("a-Copy1.txt", "a.txt"),
            ("a-Copy.txt", "a.txt"),
            ("a-Copy1", "a-Copy1"),
            ("a-Copyx.txt", "a-Copyx.txt"),
            ("a.txt", "a.txt"),
        ] {
            assert_eq!(without_copy_mark(name), base);
        }
    }
}
