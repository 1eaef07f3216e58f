//! Questions to the person in front of the kernel, one at a time.

use std::sync::{Arc, Mutex, PoisonError};

use carrel_wire::Message;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::InputError;
use crate::iopub::Stamp;
use crate::sockets::{Inbox, Outbox};

/// A handle for asking.
#[derive(Clone)]
pub(crate) struct Stdin {
    outbox: Outbox,
    stamp: Stamp,
    waiting: Arc<Mutex<Option<oneshot::Sender<String>>>>,
}

#[derive(Deserialize)]
struct InputReply {
    #[serde(default)]
    value: String,
}

impl Stdin {
    /// Starts the task that reads answers.
    pub(crate) fn start(mut inbox: Inbox, outbox: Outbox, stamp: Stamp) -> Self {
        let waiting: Arc<Mutex<Option<oneshot::Sender<String>>>> = Arc::default();
        let answers = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some((header, message)) = inbox.next().await {
                let reply = message.content::<InputReply>();
                match (header.msg_type.as_str(), reply) {
                    ("input_reply", Ok(reply)) => {
                        let asked = answers.lock().unwrap_or_else(PoisonError::into_inner).take();
                        if let Some(asked) = asked {
                            let _ = asked.send(reply.value);
                        }
                    }
                    (msg_type, _) => tracing::warn!(msg_type, "a message on stdin was dropped"),
                }
            }
        });
        Self { outbox, stamp, waiting }
    }

    /// Asks whoever sent `request` and waits for the answer.
    pub(crate) async fn ask(
        &self,
        request: &Message,
        prompt: &str,
        password: bool,
        cancel: &CancellationToken,
    ) -> Result<String, InputError> {
        let (sender, answer) = oneshot::channel();
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        let content = json!({"prompt": prompt, "password": password});
        let question = Message::reply(&self.stamp.header("input_request"), request, &content)
            .map_err(|_| InputError::Gone)?;
        if !self.outbox.send(&question).await {
            return Err(InputError::Gone);
        }
        tokio::select! {
            () = cancel.cancelled() => Err(InputError::Cancelled),
            answer = answer => answer.map_err(|_| InputError::Gone),
        }
    }
}
