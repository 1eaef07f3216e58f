//! Patterns of file names: `*` and `?` within a name, `[a-z]`, and `**` for any folders. Only folders that can hold a match are listed.

use std::collections::BTreeMap;
use std::io;

use carrel_cell::problem::{Ename, Problem};
use glob::{MatchOptions, Pattern};
use object_store::ObjectMeta;

use crate::place::{Place, unreadable};

/// Most files of one table.
const MOST_FILES: usize = 100_000;

/// Most folders that are listed for one pattern.
const MOST_FOLDERS: usize = 20_000;

const HOW: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Is it a pattern, and not just a name?
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The files of a place that these patterns and paths name, each once, in order of their paths.
///
/// # Errors
/// When a pattern is none, names nothing, or too much; when a folder cannot be listed.
pub async fn files(place: &Place, patterns: &[String], label: &str) -> Result<Vec<ObjectMeta>, Problem> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        let read = |error: io::Error| unreadable(&format!("'{pattern}'"), &error);
        let named = if is_pattern(pattern) {
            matching(place, pattern).await?
        } else {
            place.files(pattern).await.map_err(read)?
        };
        if named.is_empty() {
            return Err(Problem::new(Ename::FileNotFound, format!("no file matches '{pattern}'"))
                .hint("* and ? stand for characters of a name, ** for any folders"));
        }
        found.extend(named.into_iter().map(|meta| (meta.location.clone(), meta)));
        if found.len() > MOST_FILES {
            return Err(Problem::new(Ename::Unsupported, format!("{label} is more than {MOST_FILES} files"))
                .hint("name a part of them at a time"));
        }
    }
    Ok(found.into_values().collect())
}

async fn matching(place: &Place, pattern: &str) -> Result<Vec<ObjectMeta>, Problem> {
    let bad = |error: glob::PatternError| {
        Problem::new(Ename::FileNotFound, format!("'{pattern}' is no pattern of file names: {}", error.msg))
            .hint("* and ? stand for characters of a name, [a-z] for one of them, ** for any folders")
    };
    let whole = Pattern::new(pattern).map_err(bad)?;
    let unread = |error: io::Error| unreadable(&format!("'{pattern}'"), &error);
    let parts: Vec<&str> = pattern.split('/').collect();
    let mut folders = vec![(String::new(), 0)];
    let (mut found, mut listed) = (Vec::new(), 0);
    while let Some((folder, at)) = folders.pop() {
        let Some(part) = parts.get(at) else { continue };
        let last = at + 1 == parts.len();
        let join = |name: &str| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        if !is_pattern(part) && !last {
            folders.push((join(part), at + 1));
            continue;
        }
        listed += 1;
        if listed > MOST_FOLDERS {
            return Err(Problem::new(
                Ename::Unsupported,
                format!("'{pattern}' looks into more than {MOST_FOLDERS} folders"),
            )
            .hint("begin the pattern with the folder that the files are in"));
        }
        if !place.is_folder(&folder).await.map_err(unread)? {
            continue;
        }
        if *part == "**" || last {
            // everything below, in one list where that is one question to a cluster
            let below =
                if *part == "**" { place.files(&folder).await } else { place.files_in(&folder).await };
            let fits = |meta: &ObjectMeta| whole.matches_with(meta.location.as_ref(), HOW);
            found.extend(below.map_err(unread)?.into_iter().filter(fits));
            continue;
        }
        let name = Pattern::new(part).map_err(bad)?;
        for item in place.items(&folder).await.map_err(unread)? {
            if item.folder && name.matches_with(&item.name, HOW) {
                folders.push((join(&item.name), at + 1));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beneath::Beneath;

    async fn named(patterns: &[&str]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "d/a.csv",
            "d/b.csv",
            "d/x/c.csv",
            "d/x/y/d.csv",
            "e/day=1/a.csv",
            "e/day=2/a.csv",
            "d/[1].csv",
            "n.txt",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "a\n1\n").unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let place = Place::Folder(Beneath::open(dir.path(), "home").unwrap());
        let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let found = files(&place, &patterns, "it").await.map_err(|problem| problem.to_string())?;
        Ok(found.into_iter().map(|meta| meta.location.to_string()).collect())
    }

    #[tokio::test]
    async fn patterns_name_files() {
        for (patterns, wanted) in [
            (&["d/*.csv"] as &[&str], &["d/[1].csv", "d/a.csv", "d/b.csv"] as &[&str]),
            (&["d/**/*.csv"], &["d/[1].csv", "d/a.csv", "d/b.csv", "d/x/c.csv", "d/x/y/d.csv"]),
            (&["e/day=*/a.csv"], &["e/day=1/a.csv", "e/day=2/a.csv"]),
            (&["*/*/?.csv"], &["d/x/c.csv", "e/day=1/a.csv", "e/day=2/a.csv"]),
            (&["d/[ab].csv"], &["d/a.csv", "d/b.csv"]),
            (&["d/b.csv", "d/a.csv", "d/*.csv"], &["d/[1].csv", "d/a.csv", "d/b.csv"]),
            (&["*.txt"], &["n.txt"]),
        ] {
            assert_eq!(named(patterns).await.unwrap(), wanted, "{patterns:?}");
        }
    }

    #[tokio::test]
    async fn what_names_nothing_is_told() {
        for (pattern, why) in [
            ("d/*.parquet", "no file matches"),
            ("none/*.csv", "no file matches"),
            ("out/*", "no file matches"),
            ("d/[", "no pattern"),
        ] {
            let told = named(&[pattern]).await.unwrap_err();
            assert!(told.contains(why), "{pattern}: {told}");
        }
    }
}
