//! Which names in a folder are data. Spark, Hive, Flink and `hdfs dfs -put` mark what is not, or not yet.

/// Whether a name is hidden: begins with `.` or `_` (unless it is a partition such as `_day=1`), or is of a file that is still written.
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    const WRITING: [&str; 4] = ["._COPYING_", ".inprogress", ".in-progress", ".tmp"];
    name.starts_with('.')
        || (name.starts_with('_') && !name.contains('='))
        || WRITING.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_unfinished_files_are_hidden() {
        for name in [
            "_SUCCESS",
            "_temporary",
            ".hive-staging_1",
            "a.parquet._COPYING_",
            "part-0.inprogress",
            "log.tmp",
            "._x",
        ] {
            assert!(is_hidden(name), "{name}");
        }
        for name in ["part-0.parquet", "_day=1", "day=2026-11-01", "a_b", "tmp"] {
            assert!(!is_hidden(name), "{name}");
        }
    }
}
