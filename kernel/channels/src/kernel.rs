//! What a language implements to be a kernel, and what it is given.

use std::future::Future;

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::Output;

/// A JSON object.
pub type Object = Map<String, Value>;

/// What a kernel says about itself in `kernel_info_reply`.
#[derive(Clone, Debug)]
pub struct KernelInfo {
    /// For example `carrel`.
    pub implementation: String,
    /// Its version.
    pub implementation_version: String,
    /// `name`, `version`, `mimetype`, `file_extension` and what editors want to know.
    pub language_info: Object,
    /// What a console shows first.
    pub banner: String,
    /// Text and address.
    pub help_links: Vec<(String, String)>,
}

/// A cell to run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Its text.
    pub code: String,
    /// The number it will have.
    pub execution_count: u32,
    /// Nothing is to be shown.
    pub silent: bool,
    /// Cancelled when the user interrupts. A cell that goes on much longer is ended from outside.
    pub cancel: CancellationToken,
    /// The request's metadata; JupyterLab puts `cellId` there.
    pub metadata: Object,
}

/// How a cell ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Well.
    Ok,
    /// With a mistake, a refusal or a fault; it is shown.
    Error(ErrorOutput),
}

/// What an `error` message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorOutput {
    /// The kind, for programs.
    pub ename: String,
    /// One line, for people.
    pub evalue: String,
    /// The lines that a front end shows.
    pub traceback: Vec<String>,
}

/// Candidates for the cursor; places are code points.
#[derive(Clone, Debug, Default)]
pub struct CompleteReply {
    /// What could be inserted.
    pub matches: Vec<String>,
    /// Where the replaced text begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// More about the matches, by the conventions of front ends.
    pub metadata: Object,
}

/// The answer to `is_complete_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsComplete {
    /// Enter runs it.
    Complete,
    /// Enter begins a new line, indented by this.
    Incomplete(&'static str),
    /// It can never be run.
    Invalid,
    /// The language does not say.
    Unknown,
}

/// A language. Everything but [`Kernel::info`] and [`Kernel::execute`] has a default.
pub trait Kernel: Send + Sync + 'static {
    /// What it says about itself.
    fn info(&self) -> KernelInfo;

    /// Runs a cell. Executes come one after the other; everything else may come meanwhile.
    fn execute(&self, cell: Cell, output: Output) -> impl Future<Output = Outcome> + Send;

    /// What could stand at the cursor (a code point).
    fn complete(&self, code: String, cursor: usize) -> impl Future<Output = CompleteReply> + Send {
        let _ = code;
        async move { CompleteReply { start: cursor, end: cursor, ..CompleteReply::default() } }
    }

    /// What is known about the name at the cursor (a code point), as a MIME bundle.
    fn inspect(
        &self,
        code: String,
        cursor: usize,
        detail: u8,
    ) -> impl Future<Output = Option<Object>> + Send {
        let _ = (code, cursor, detail);
        async { None }
    }

    /// Is the code ready to be run?
    fn is_complete(&self, code: &str) -> IsComplete {
        let _ = code;
        IsComplete::Unknown
    }

    /// The user interrupts; the running cell's token is cancelled already.
    fn interrupt(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The kernel ends after this, or is started again.
    fn shutdown(&self, restart: bool) -> impl Future<Output = ()> + Send {
        let _ = restart;
        async {}
    }

    /// A front end opens a comm; `false` closes it again. No later request is looked at before this is done: it is quick.
    fn comm_open(
        &self,
        comm_id: String,
        target: String,
        data: Value,
        output: Output,
    ) -> impl Future<Output = bool> + Send {
        let _ = (comm_id, target, data, output);
        async { false }
    }

    /// A front end speaks on a comm.
    fn comm_msg(&self, comm_id: String, data: Value, output: Output) -> impl Future<Output = ()> + Send {
        let _ = (comm_id, data, output);
        async {}
    }

    /// A front end closes a comm.
    fn comm_close(&self, comm_id: String, data: Value) -> impl Future<Output = ()> + Send {
        let _ = (comm_id, data);
        async {}
    }

    /// Open comms as `{comm_id: {"target_name": …}}`, of this target if one is given.
    fn comm_info(&self, target: Option<&str>) -> Object {
        let _ = target;
        Object::new()
    }
}

impl KernelInfo {
    /// The content of `kernel_info_reply`.
    pub(crate) fn content(&self) -> Value {
        let links: Vec<Value> =
            self.help_links.iter().map(|(text, url)| json!({"text": text, "url": url})).collect();
        json!({
            "status": "ok",
            "protocol_version": "5.4",
            "implementation": self.implementation,
            "implementation_version": self.implementation_version,
            "language_info": self.language_info,
            "banner": self.banner,
            "help_links": links,
            "debugger": false,
            "supported_features": [],
        })
    }
}

impl ErrorOutput {
    /// A fault of ours: the reference under which it was logged.
    pub(crate) fn fault(reference: &str) -> Self {
        let evalue = format!("a fault of the kernel, logged under {reference}; the session goes on");
        Self {
            ename: "Internal".to_owned(),
            traceback: vec![format!("\u{1b}[1;31mInternal\u{1b}[0m: {evalue}")],
            evalue,
        }
    }

    /// The cell did not stop by itself when it was interrupted.
    pub(crate) fn cancelled() -> Self {
        Self {
            ename: "Cancelled".to_owned(),
            evalue: "interrupted".to_owned(),
            traceback: vec!["\u{1b}[1;31mCancelled\u{1b}[0m: interrupted".to_owned()],
        }
    }

    /// The content of an `error` message, and the part of an `execute_reply`.
    pub(crate) fn content(&self) -> Value {
        json!({"ename": self.ename, "evalue": self.evalue, "traceback": self.traceback})
    }
}
