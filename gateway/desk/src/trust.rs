//! Which notebooks' outputs their user has produced, so that the front end may run the scripts in them.
//!
//! Jupyter's rule: a notebook is remembered when it is saved with every code cell run by the user or without rich
//! output; one that came from elsewhere is shown, but not trusted. What is kept is one hash per notebook version.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::mkdirat;
use rustix::io::Errno;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::atomic::{Draft, Taken};
use crate::error::Error;
use crate::home::Home;
use crate::path::ContentsPath;

/// Where the hashes are, below the home.
const FOLDERS: [&str; 3] = [".local", "share", "carrel"];
const FILE: &str = "trusted-notebooks";
/// The oldest are forgotten.
const MAX_HASHES: usize = 4096;

type Hash = [u8; 32];

/// The remembered notebooks of one user.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    known: HashSet<Hash>,
    order: VecDeque<Hash>,
}

impl Trust {
    /// Reads what earlier runs kept; nothing there, or nothing readable, means nothing is trusted.
    pub(crate) fn load(home: &Home) -> Trust {
        let mut kept = Kept::default();
        let mut text = String::new();
        if let Ok(path) = ContentsPath::parse(&format!("{}/{FILE}", FOLDERS.join("/")))
            && let Ok((file, _)) = home.open_read(&path)
            && File::take(file, (MAX_HASHES * 65) as u64).read_to_string(&mut text).is_ok()
        {
            for line in text.lines() {
                let mut hash = Hash::default();
                if hex::decode_to_slice(line, &mut hash).is_ok() {
                    kept.insert(hash);
                }
            }
        }
        Trust { kept: Mutex::new(kept) }
    }

    /// Remembers a notebook that has been saved.
    pub(crate) fn sign(&self, home: &Home, notebook: &mut Value) -> Result<(), Error> {
        take_marks(notebook);
        let hash = digest(notebook);
        let text = {
            let mut kept = self.lock();
            if !kept.insert(hash) {
                return Ok(());
            }
            kept.order.iter().fold(String::new(), |text, hash| text + &hex::encode(hash) + "\n")
        };
        store(home, &text)
    }

    /// After a read: tells the front end, cell by cell, as Jupyter does.
    pub(crate) fn mark(&self, notebook: &mut Value) {
        take_marks(notebook);
        let trusted = self.lock().known.contains(&digest(notebook));
        for cell in code_cells(notebook) {
            if let Some(metadata) = cell.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("trusted".into(), trusted.into());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, hash: Hash) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_HASHES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

fn code_cells(notebook: &mut Value) -> impl Iterator<Item = &mut Value> {
    let cells = notebook.get_mut("cells").and_then(Value::as_array_mut);
    cells.into_iter().flatten().filter(|cell| cell["cell_type"] == "code")
}

/// Removes the front end's marks, which are not for the file. Was every code cell marked as trusted, or free of rich output?
pub(crate) fn take_marks(notebook: &mut Value) -> bool {
    let mut all = true;
    if let Some(metadata) = notebook.get_mut("metadata").and_then(Value::as_object_mut) {
        for transient in ["orig_nbformat", "orig_nbformat_minor", "signature"] {
            metadata.remove(transient);
        }
    }
    for cell in code_cells(notebook) {
        let mark = cell.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.remove("trusted"));
        let rich = cell["outputs"].as_array().is_some_and(|outputs| {
            outputs.iter().any(|o| o["output_type"] == "display_data" || o["output_type"] == "execute_result")
        });
        all &= mark == Some(Value::Bool(true)) || !rich;
    }
    all
}

fn digest(notebook: &Value) -> Hash {
    let mut sorted = notebook.clone();
    sorted.sort_all_objects();
    Sha256::digest(sorted.to_string().as_bytes()).into()
}

fn store(home: &Home, text: &str) -> Result<(), Error> {
    let mut path = ContentsPath::default();
    for name in FOLDERS {
        path = path.join(name)?;
        let place = home.place_to_write(&path)?;
        match mkdirat(&place.dir, &place.name, 0o700.into()) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::os("create", path.as_str(), e)),
        }
    }
    let mut draft = Draft::begin(home.place_to_write(&path.join(FILE)?)?, Taken::Replace)?;
    draft.write(text.as_bytes())?;
    draft.finish_unsynced()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notebook(trusted: bool) -> Value {
        json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{
            "id": "a", "cell_type": "code", "source": "x", "execution_count": 1,
            "metadata": if trusted { json!({"trusted": true}) } else { json!({}) },
            "outputs": [{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>"}}]}]})
    }

    fn trusted(trust: &Trust) -> bool {
        let mut read = notebook(false);
        trust.mark(&mut read);
        read["cells"][0]["metadata"]["trusted"] == true
    }

    #[test]
    fn what_the_user_ran_is_trusted_and_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), None).unwrap();
        let trust = Trust::load(&home);
        assert!(!take_marks(&mut notebook(false)), "rich output without a mark came from elsewhere");
        assert!(!trusted(&trust));
        let mut saved = notebook(true);
        assert!(take_marks(&mut saved));
        trust.sign(&home, &mut saved).unwrap();
        assert_eq!(saved, notebook(false), "marks are not written to the file");
        assert!(trusted(&trust));
        assert!(trusted(&Trust::load(&home)));
    }
}
