//! What is common to all requests: busy before, idle after, whatever happens between.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use carrel_wire::Message;
use serde_json::{Map, Value, json};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::iopub::{Iopub, Stamp};
use crate::kernel::{ErrorOutput, Kernel};
use crate::output::Output;
use crate::server::Handle;
use crate::sockets::Outbox;
use crate::stdin::Stdin;

/// What all channels of a kernel share.
pub(crate) struct Shared<K> {
    pub(crate) kernel: Arc<K>,
    pub(crate) iopub: Iopub,
    pub(crate) stdin: Stdin,
    pub(crate) stamp: Stamp,
    pub(crate) history: History,
    pub(crate) handle: Handle,
    pub(crate) running: Running,
}

/// The token of the cell that runs.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Option<CancellationToken>>>);

impl Running {
    pub(crate) fn set(&self, cancel: Option<CancellationToken>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cancel;
    }

    pub(crate) fn cancel(&self) {
        if let Some(cancel) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            cancel.cancel();
        }
    }
}

/// A reply's content, and metadata beside it.
pub(crate) struct Reply {
    pub(crate) content: Value,
    pub(crate) metadata: Value,
}

impl From<Value> for Reply {
    fn from(content: Value) -> Self {
        Self { content, metadata: Value::Object(Map::new()) }
    }
}

impl<K: Kernel> Shared<K> {
    /// Answers a request between busy and idle. The work runs in a task of its own, so that its panic, or its being ended from
    /// outside, ends neither the kernel nor the pair.
    pub(crate) async fn bracket<R: Into<Reply> + Send + 'static>(
        &self,
        request: &Arc<Message>,
        outbox: &Outbox,
        reply_type: Option<&'static str>,
        work: impl Future<Output = R> + Send + 'static,
    ) {
        self.iopub.status(Some(request), "busy").await;
        let reply = match tokio::spawn(work).await {
            Ok(reply) => reply.into(),
            Err(error) => self.fault(error).into(),
        };
        if let Some(reply_type) = reply_type {
            self.reply(request, outbox, reply_type, &reply).await;
        }
        self.iopub.status(Some(request), "idle").await;
    }

    /// Logs a panic once and says under which reference.
    fn fault(&self, error: JoinError) -> Value {
        let mut content = log_fault(error).content();
        content["status"] = json!("error");
        content
    }

    pub(crate) async fn reply(&self, request: &Message, outbox: &Outbox, reply_type: &str, reply: &Reply) {
        match Message::reply(&self.stamp.header(reply_type), request, &reply.content) {
            Ok(mut message) => {
                message.metadata = reply.metadata.to_string().into();
                outbox.send(&message).await;
            }
            Err(error) => tracing::error!(%error, reply_type, "a reply could not be written"),
        }
    }

    /// A voice for work that is not a cell.
    pub(crate) fn output(&self, request: &Arc<Message>) -> Output {
        Output {
            parent: Arc::clone(request),
            iopub: self.iopub.clone(),
            stdin: self.stdin.clone(),
            execution_count: 0,
            silent: false,
            allow_stdin: false,
            cancel: CancellationToken::new(),
        }
    }
}

/// Logs a panic once; the user sees the reference.
pub(crate) fn log_fault(error: JoinError) -> ErrorOutput {
    let reference = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    let cause = match error.try_into_panic() {
        Ok(panic) => match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "a panic without text".to_owned(),
        },
        Err(error) => error.to_string(),
    };
    tracing::error!(reference, cause, "a request ended in a fault");
    ErrorOutput::fault(&reference)
}
