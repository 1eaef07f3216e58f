//! What was run in this session, as consoles ask for it. Kept in memory, bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};

/// Cells that are kept.
const CELLS: usize = 1000;
/// Bytes of code that are kept.
const BYTES: usize = 4 << 20;

/// Cells by their number.
#[derive(Default)]
pub(crate) struct History {
    cells: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    cells: VecDeque<(u32, String)>,
    bytes: usize,
}

/// The content of `history_request`.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct HistoryRequest {
    hist_access_type: String,
    n: Option<usize>,
    start: Option<i64>,
    stop: Option<i64>,
    pattern: Option<String>,
    unique: bool,
    output: bool,
}

impl Default for HistoryRequest {
    fn default() -> Self {
        Self {
            hist_access_type: "tail".to_owned(),
            n: None,
            start: None,
            stop: None,
            pattern: None,
            unique: false,
            output: false,
        }
    }
}

impl History {
    pub(crate) fn push(&self, number: u32, code: &str) {
        let mut kept = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += code.len();
        kept.cells.push_back((number, code.to_owned()));
        while kept.cells.len() > CELLS || kept.bytes > BYTES {
            let Some((_, code)) = kept.cells.pop_front() else { break };
            kept.bytes -= code.len();
        }
    }

    /// The content of `history_reply`: `[session, number, code]`, or with `[code, null]` if outputs were asked for.
    pub(crate) fn reply(&self, request: &HistoryRequest) -> Value {
        let kept = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen: Vec<&(u32, String)> = match request.hist_access_type.as_str() {
            "range" => {
                let start = request.start.unwrap_or(1);
                let stop = request.stop.unwrap_or(i64::MAX);
                kept.cells.iter().filter(|(number, _)| (start..stop).contains(&i64::from(*number))).collect()
            }
            "search" => {
                let pattern = request.pattern.as_deref().unwrap_or("*");
                kept.cells.iter().filter(|(_, code)| glob(pattern, code)).collect()
            }
            _ => kept.cells.iter().collect(),
        };
        if request.unique {
            let mut seen = std::collections::HashSet::new();
            chosen.reverse();
            chosen.retain(|(_, code)| seen.insert(code.as_str()));
            chosen.reverse();
        }
        if request.hist_access_type != "range" {
            let n = request.n.unwrap_or(CELLS);
            chosen.drain(..chosen.len().saturating_sub(n));
        }
        let entry = |(number, code): &(u32, String)| {
            if request.output { json!([0, number, [code, null]]) } else { json!([0, number, code]) }
        };
        json!({"status": "ok", "history": chosen.into_iter().map(entry).collect::<Vec<_>>()})
    }
}

/// `*` stands for any text, `?` for any character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Value, expected: &[u32]) {
        let history = History::default();
        for (number, code) in (1..).zip(["SELECT 1", "SHOW DATASETS", "SELECT 1", "SELECT 2"]) {
            history.push(number, code);
        }
        let reply = history.reply(&serde_json::from_value(request.clone()).unwrap());
        let numbers: Vec<u64> =
            reply["history"].as_array().unwrap().iter().map(|entry| entry[1].as_u64().unwrap()).collect();
        assert_eq!(numbers, expected.iter().map(|n| u64::from(*n)).collect::<Vec<_>>(), "{request}");
    }

    #[test]
    fn tail_range_and_search() {
        check(json!({"hist_access_type": "tail", "n": 2}), &[3, 4]);
        check(json!({}), &[1, 2, 3, 4]);
        check(json!({"hist_access_type": "range", "start": 2, "stop": 4, "session": 0}), &[2, 3]);
        check(json!({"hist_access_type": "search", "pattern": "SELECT*"}), &[1, 3, 4]);
        check(json!({"hist_access_type": "search", "pattern": "SELECT*", "unique": true, "n": 10}), &[3, 4]);
        check(json!({"hist_access_type": "search", "pattern": "*S?TS"}), &[2]);
        check(json!({"hist_access_type": "search", "pattern": "*S??TS"}), &[]);
        check(json!({"hist_access_type": "search", "pattern": "*SETS"}), &[2]);
    }

    #[test]
    fn is_bounded() {
        let history = History::default();
        for number in 0..CELLS as u32 + 10 {
            history.push(number, "x");
        }
        history.push(9999, &"y".repeat(BYTES));
        let reply = history.reply(&HistoryRequest::default());
        assert_eq!(reply["history"].as_array().unwrap().len(), 1);
    }
}
