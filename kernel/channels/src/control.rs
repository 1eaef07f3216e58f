//! Control requests: what must not wait behind cells.

use std::sync::Arc;
use std::time::Duration;

use carrel_wire::Message;
use serde::Deserialize;
use serde_json::json;

use crate::kernel::Kernel;
use crate::request::Shared;
use crate::server::Ended;
use crate::shell::answer;
use crate::sockets::{Inbox, Outbox};

/// How long a kernel may take to put its things away.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShutdownRequest {
    restart: bool,
}

/// Reads control until the socket is gone.
pub(crate) async fn run<K: Kernel>(shared: Arc<Shared<K>>, mut inbox: Inbox, outbox: Outbox) {
    while let Some((header, message)) = inbox.next().await {
        if header.msg_type == "interrupt_request" {
            // Before anything is published: a slow subscriber must not delay it.
            shared.running.cancel();
        }
        let (shared, outbox) = (Arc::clone(&shared), outbox.clone());
        tokio::spawn(async move { answer(&shared, &outbox, &header, Arc::new(message)).await });
    }
}

/// Stops the running cell.
pub(crate) async fn interrupt<K: Kernel>(shared: &Arc<Shared<K>>, outbox: &Outbox, message: &Arc<Message>) {
    shared.running.cancel();
    let kernel = Arc::clone(&shared.kernel);
    let work = async move {
        kernel.interrupt().await;
        json!({"status": "ok"})
    };
    shared.bracket(message, outbox, Some("interrupt_reply"), work).await;
}

/// Ends the kernel.
pub(crate) async fn shutdown<K: Kernel>(shared: &Arc<Shared<K>>, outbox: &Outbox, message: &Arc<Message>) {
    let restart = message.content::<ShutdownRequest>().unwrap_or_default().restart;
    shared.running.cancel();
    let kernel = Arc::clone(&shared.kernel);
    let work = async move {
        let _ = tokio::time::timeout(FAREWELL, kernel.shutdown(restart)).await;
        json!({"status": "ok", "restart": restart})
    };
    shared.bracket(message, outbox, Some("shutdown_reply"), work).await;
    shared.iopub.json(Some(message), "shutdown_reply", &json!({"status": "ok", "restart": restart})).await;
    shared.handle.end(Ended { restart });
}
