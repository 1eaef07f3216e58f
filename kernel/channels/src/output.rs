//! How a cell speaks while it runs. Every function waits while those who listen are slow.

use std::sync::Arc;

use bytes::Bytes;
use carrel_wire::Message;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::iopub::{Iopub, Post, Stream};
use crate::kernel::Object;
use crate::stdin::Stdin;

/// Why a cell got no input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The front end said that it cannot ask.
    #[error("this front end does not take input")]
    NotAllowed,
    /// The user interrupted.
    #[error("interrupted while waiting for input")]
    Cancelled,
    /// The front end is gone.
    #[error("the front end is gone")]
    Gone,
}

/// A cell's voice; cheap to copy.
#[derive(Clone)]
pub struct Output {
    pub(crate) parent: Arc<Message>,
    pub(crate) iopub: Iopub,
    pub(crate) stdin: Stdin,
    pub(crate) execution_count: u32,
    pub(crate) silent: bool,
    pub(crate) allow_stdin: bool,
    pub(crate) cancel: CancellationToken,
}

impl Output {
    /// Adds text to standard output. Small pieces are gathered for some milliseconds.
    pub async fn stdout(&self, text: impl Into<String>) {
        if !self.silent {
            self.iopub.text(&self.parent, Stream::Stdout, text.into()).await;
        }
    }

    /// Adds text to standard error.
    pub async fn stderr(&self, text: impl Into<String>) {
        if !self.silent {
            self.iopub.text(&self.parent, Stream::Stderr, text.into()).await;
        }
    }

    /// Shows something. With an identifier it can be replaced later by [`Output::update_display`].
    pub async fn display(&self, data: Object, metadata: Object, display_id: Option<&str>) {
        self.shown("display_data", data, metadata, display_id).await;
    }

    /// Replaces what was shown under this identifier.
    pub async fn update_display(&self, data: Object, metadata: Object, display_id: &str) {
        self.shown("update_display_data", data, metadata, Some(display_id)).await;
    }

    async fn shown(&self, msg_type: &'static str, data: Object, metadata: Object, display_id: Option<&str>) {
        let transient = display_id.map_or_else(|| json!({}), |id| json!({"display_id": id}));
        self.json(msg_type, json!({"data": data, "metadata": metadata, "transient": transient})).await;
    }

    /// Shows the cell's result, with its number.
    pub async fn result(&self, data: Object, metadata: Object) {
        let count = self.execution_count;
        self.json("execute_result", json!({"execution_count": count, "data": data, "metadata": metadata}))
            .await;
    }

    /// Takes away what was shown so far; with `wait`, only once there is something new.
    pub async fn clear(&self, wait: bool) {
        self.json("clear_output", json!({"wait": wait})).await;
    }

    /// Speaks on a comm: `comm_open`, `comm_msg` or `comm_close`, with binary attachments.
    pub async fn comm(&self, msg_type: &'static str, content: &Value, buffers: Vec<Bytes>) {
        let content = Bytes::from(content.to_string());
        self.iopub.post(Post { parent: Some(Arc::clone(&self.parent)), msg_type, content, buffers }).await;
    }

    /// Asks the person in front for a line.
    ///
    /// # Errors
    /// When nobody can be asked, the user interrupts or the front end is gone.
    pub async fn input(&self, prompt: &str, password: bool) -> Result<String, InputError> {
        if !self.allow_stdin {
            return Err(InputError::NotAllowed);
        }
        self.stdin.ask(&self.parent, prompt, password, &self.cancel).await
    }

    async fn json(&self, msg_type: &'static str, content: Value) {
        if !self.silent {
            self.iopub.json(Some(&self.parent), msg_type, &content).await;
        }
    }
}
