//! Files sent in chunks: gathered beside their place, put there whole by the last chunk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::fstat;

use crate::atomic::{Draft, Taken};
use crate::error::Error;
use crate::home::Home;
use crate::model::Model;
use crate::path::ContentsPath;

/// Uploads at once.
const MAX_UPLOADS: usize = 32;
/// An upload whose next chunk does not come is given up.
const ABANDONED: Duration = Duration::from_secs(15 * 60);

/// The uploads that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    open: Mutex<HashMap<ContentsPath, Upload>>,
}

#[derive(Debug)]
struct Upload {
    draft: Draft,
    next: i64,
    touched: Instant,
}

impl Uploads {
    /// Takes one chunk: 1 begins anew, 2, 3, … follow, -1 is the last.
    pub(crate) fn chunk(
        &self,
        home: &Home,
        path: &ContentsPath,
        chunk: i64,
        bytes: &[u8],
    ) -> Result<Model, Error> {
        // Taken out while it is written to, so that no lock is held over the disk.
        let mut upload = match chunk {
            1 => self.begin(home, path)?,
            _ => self.lock().remove(path).ok_or_else(|| {
                Error::bad(format!(
                    "chunk {chunk} of '{path}' without the ones before it: send the file again"
                ))
            })?,
        };
        if chunk != -1 && chunk != upload.next {
            let next = upload.next;
            return Err(Error::bad(format!(
                "chunk {chunk} of '{path}' where {next} was expected: send the file again"
            )));
        }
        upload.draft.write(bytes)?;
        if chunk == -1 {
            upload.draft.finish()?;
            return crate::read::bare(home, path);
        }
        let stat = fstat(&upload.draft.file).map_err(|e| Error::os("look at", path.as_str(), e))?;
        let model = Model::new(path, &stat, true, None);
        upload.next += 1;
        upload.touched = Instant::now();
        self.lock().insert(path.clone(), upload);
        Ok(model)
    }

    /// Gives up the uploads that stand still.
    pub(crate) fn sweep(&self, now: Instant) {
        self.lock().retain(|_, upload| now.saturating_duration_since(upload.touched) < ABANDONED);
    }

    /// Gives up all of them.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn begin(&self, home: &Home, path: &ContentsPath) -> Result<Upload, Error> {
        self.lock().remove(path);
        if self.lock().len() >= MAX_UPLOADS {
            return Err(Error::Busy(format!("{MAX_UPLOADS} uploads are running already")));
        }
        let draft = Draft::begin(home.place_to_write(path)?, Taken::Replace)?;
        Ok(Upload { draft, next: 1, touched: Instant::now() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentsPath, Upload>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
