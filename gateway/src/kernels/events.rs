//! The event bus of `/api/events`: what happened to a user's kernels and files, told to whoever listens.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::Owner;
use crate::clock::{Clock, iso};

/// Events that a slow listener may be behind; older ones are skipped for it.
const BEHIND: usize = 256;

/// One event and whose it is.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose server it happened in.
    pub owner: Owner,
    /// The message as it is sent.
    pub text: Arc<str>,
}

/// The bus. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    clock: Clock,
}

impl Events {
    /// An empty bus.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), clock }
    }

    /// Everything from now on, of all owners.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// Something was done to a kernel.
    pub fn kernel(&self, owner: &Owner, action: &str, kernel: &str, name: &str) {
        self.emit(
            owner,
            "https://events.jupyter.org/jupyter_server/kernel_actions/v1",
            json!({"action": action, "kernel_id": kernel, "kernel_name": name, "status": "success",
                   "msg": format!("kernel {kernel}: {action}")}),
        );
    }

    /// Something was done to a file.
    pub fn contents(&self, owner: &Owner, action: &str, path: &str) {
        self.emit(
            owner,
            "https://events.jupyter.org/jupyter_server/contents_service/v1",
            json!({"action": action, "path": path}),
        );
    }

    fn emit(&self, owner: &Owner, schema: &str, data: Value) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let mut event = Map::new();
        event.insert("__timestamp__".into(), iso(self.clock.now()).into());
        event.insert("__schema_version__".into(), "1".into());
        event.insert("schema_id".into(), schema.into());
        event.insert("__metadata_version__".into(), 1.into());
        if let Value::Object(data) = data {
            event.extend(data);
        }
        let event = Event { owner: owner.clone(), text: Value::Object(event).to_string().into() };
        // Nobody listening any more is not a failure.
        let _ = self.sender.send(event);
    }
}
