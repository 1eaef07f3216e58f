//! Shell requests: executes one after the other, everything else beside them.

use std::sync::Arc;
use std::time::Duration;

use carrel_wire::{Header, Message};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::history::HistoryRequest;
use crate::kernel::{Cell, ErrorOutput, IsComplete, Kernel, Object, Outcome};
use crate::output::Output;
use crate::request::{Reply, Shared, log_fault};
use crate::sockets::{Inbox, Outbox};

/// Cells that wait; more are refused.
const CELLS: usize = 4096;
/// Other requests that are answered at the same time.
const BESIDE: usize = 64;
/// After a mistake, how long requests that were sent before it are still expected to come in.
const ABORT_WINDOW: Duration = Duration::from_millis(3);

#[derive(Deserialize)]
struct ExecuteRequest {
    code: String,
    #[serde(default)]
    silent: bool,
    store_history: Option<bool>,
    #[serde(default)]
    user_expressions: Option<Map<String, Value>>,
    #[serde(default)]
    allow_stdin: bool,
    stop_on_error: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cursor {
    code: String,
    cursor_pos: Option<usize>,
    detail_level: u8,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CommContent {
    comm_id: String,
    target_name: Option<String>,
    data: Value,
}

/// Reads shell until the socket is gone.
pub(crate) async fn run<K: Kernel>(
    shared: Arc<Shared<K>>,
    mut inbox: Inbox,
    outbox: Outbox,
    cancel_grace: Duration,
) {
    let (cells, queue) = mpsc::channel(CELLS);
    let worker = Worker { shared: Arc::clone(&shared), outbox: outbox.clone(), count: 0, cancel_grace };
    tokio::spawn(worker.run(queue));
    let beside = Arc::new(Semaphore::new(BESIDE));
    while let Some((header, message)) = inbox.next().await {
        if header.msg_type == "execute_request" {
            if let Err(refused) = cells.try_send(Arc::new(message)) {
                abort(&shared, &outbox, &refused.into_inner()).await;
            }
            continue;
        }
        // What a front end tells by opening a comm is known before what it sent after it is begun.
        if header.msg_type == "comm_open" {
            answer(&shared, &outbox, &header, Arc::new(message)).await;
            continue;
        }
        let Ok(permit) = Arc::clone(&beside).acquire_owned().await else { return };
        let (shared, outbox) = (Arc::clone(&shared), outbox.clone());
        tokio::spawn(async move {
            answer(&shared, &outbox, &header, Arc::new(message)).await;
            drop(permit);
        });
    }
}

/// Answers a request other than an execute, on shell or control.
pub(crate) async fn answer<K: Kernel>(
    shared: &Arc<Shared<K>>,
    outbox: &Outbox,
    header: &Header,
    message: Arc<Message>,
) {
    let (request, kernel) = (Arc::clone(&message), Arc::clone(&shared.kernel));
    match header.msg_type.as_str() {
        "kernel_info_request" => {
            let work = async move { kernel.info().content() };
            shared.bracket(&message, outbox, Some("kernel_info_reply"), work).await;
        }
        "complete_request" => {
            shared.bracket(&message, outbox, Some("complete_reply"), complete(kernel, request)).await;
        }
        "inspect_request" => {
            shared.bracket(&message, outbox, Some("inspect_reply"), inspect(kernel, request)).await;
        }
        "is_complete_request" => {
            let work = async move {
                match kernel.is_complete(&content::<Cursor>(&request).code) {
                    IsComplete::Complete => json!({"status": "complete"}),
                    IsComplete::Incomplete(indent) => json!({"status": "incomplete", "indent": indent}),
                    IsComplete::Invalid => json!({"status": "invalid"}),
                    IsComplete::Unknown => json!({"status": "unknown"}),
                }
            };
            shared.bracket(&message, outbox, Some("is_complete_reply"), work).await;
        }
        "history_request" => {
            let history = shared.history.reply(&content::<HistoryRequest>(&request));
            shared.bracket(&message, outbox, Some("history_reply"), async move { history }).await;
        }
        "comm_info_request" => {
            let work = async move {
                let target = content::<CommContent>(&request).target_name;
                json!({"status": "ok", "comms": kernel.comm_info(target.as_deref())})
            };
            shared.bracket(&message, outbox, Some("comm_info_reply"), work).await;
        }
        "comm_open" | "comm_msg" | "comm_close" => {
            let work = comm(kernel, header.msg_type.clone(), request, shared.output(&message));
            shared.bracket(&message, outbox, None, work).await;
        }
        "shutdown_request" => crate::control::shutdown(shared, outbox, &message).await,
        "interrupt_request" => crate::control::interrupt(shared, outbox, &message).await,
        msg_type => tracing::warn!(msg_type, "an unknown request was dropped"),
    }
}

/// The content, or the default if it cannot be read: a client that sends nonsense gets the answer to nothing.
fn content<C: for<'a> Deserialize<'a> + Default>(message: &Message) -> C {
    message.content().unwrap_or_else(|error| {
        tracing::warn!(%error, "a request's content could not be read");
        C::default()
    })
}

async fn complete<K: Kernel>(kernel: Arc<K>, request: Arc<Message>) -> Value {
    let Cursor { code, cursor_pos, .. } = content(&request);
    let cursor = cursor_pos.unwrap_or_else(|| code.chars().count());
    let reply = kernel.complete(code, cursor).await;
    json!({
        "status": "ok",
        "matches": reply.matches,
        "cursor_start": reply.start,
        "cursor_end": reply.end,
        "metadata": reply.metadata,
    })
}

async fn inspect<K: Kernel>(kernel: Arc<K>, request: Arc<Message>) -> Value {
    let Cursor { code, cursor_pos, detail_level } = content(&request);
    let cursor = cursor_pos.unwrap_or_else(|| code.chars().count());
    let found = kernel.inspect(code, cursor, detail_level).await;
    json!({"status": "ok", "found": found.is_some(), "data": found.unwrap_or_default(), "metadata": {}})
}

async fn comm<K: Kernel>(kernel: Arc<K>, msg_type: String, request: Arc<Message>, output: Output) -> Value {
    let CommContent { comm_id, target_name, data } = content(&request);
    match msg_type.as_str() {
        "comm_open" => {
            let target = target_name.unwrap_or_default();
            if !kernel.comm_open(comm_id.clone(), target, data, output.clone()).await {
                output.comm("comm_close", &json!({"comm_id": comm_id, "data": {}}), Vec::new()).await;
            }
        }
        "comm_msg" => kernel.comm_msg(comm_id, data, output).await,
        _ => kernel.comm_close(comm_id, data).await,
    }
    Value::Null
}

/// Runs cells in order.
struct Worker<K> {
    shared: Arc<Shared<K>>,
    outbox: Outbox,
    count: u32,
    cancel_grace: Duration,
}

impl<K: Kernel> Worker<K> {
    async fn run(mut self, mut queue: mpsc::Receiver<Arc<Message>>) {
        while let Some(message) = queue.recv().await {
            let aborted = self.cell(&message, &mut queue).await;
            for message in aborted {
                abort(&self.shared, &self.outbox, &message).await;
            }
        }
    }

    /// Runs one cell; returns the requests behind it that its failure aborts.
    async fn cell(
        &mut self,
        message: &Arc<Message>,
        queue: &mut mpsc::Receiver<Arc<Message>>,
    ) -> Vec<Arc<Message>> {
        let shared = Arc::clone(&self.shared);
        let started = shared.stamp.header("").date;
        let mut aborted = Vec::new();
        shared.iopub.status(Some(message), "busy").await;
        let reply = match message.content::<ExecuteRequest>() {
            Ok(request) => {
                let stop = request.stop_on_error.unwrap_or(true) && !request.silent;
                let content = self.execute(message, request).await;
                if stop && content["status"] == "error" {
                    aborted = sent_before(queue).await;
                }
                content
            }
            Err(error) => json!({"status": "error", "ename": "BadRequest", "evalue": error.to_string(),
                "traceback": [], "execution_count": self.count}),
        };
        let metadata = json!({"started": started, "status": reply["status"], "dependencies_met": true});
        let reply = Reply { content: reply, metadata };
        shared.reply(message, &self.outbox, "execute_reply", &reply).await;
        shared.iopub.status(Some(message), "idle").await;
        aborted
    }

    async fn execute(&mut self, message: &Arc<Message>, request: ExecuteRequest) -> Value {
        let shared = &self.shared;
        let store = request.store_history.unwrap_or(true) && !request.silent;
        let number = self.count + 1;
        if store {
            self.count = number;
            shared.history.push(number, &request.code);
        }
        if !request.silent {
            let input = json!({"code": request.code, "execution_count": number});
            shared.iopub.json(Some(message), "execute_input", &input).await;
        }
        let cancel = CancellationToken::new();
        shared.running.set(Some(cancel.clone()));
        let output = Output {
            execution_count: number,
            silent: request.silent,
            allow_stdin: request.allow_stdin,
            cancel: cancel.clone(),
            ..shared.output(message)
        };
        let cell = Cell {
            code: request.code,
            execution_count: number,
            silent: request.silent,
            cancel: cancel.clone(),
            metadata: serde_json::from_slice::<Object>(&message.metadata).unwrap_or_default(),
        };
        let outcome = self.guarded(cell, output, cancel).await;
        shared.running.set(None);
        match outcome {
            Outcome::Ok => json!({
                "status": "ok",
                "execution_count": number,
                "user_expressions": refused(request.user_expressions.unwrap_or_default()),
                "payload": [],
            }),
            Outcome::Error(error) => {
                let mut content = error.content();
                if !request.silent {
                    shared.iopub.json(Some(message), "error", &content).await;
                }
                content["status"] = json!("error");
                content["execution_count"] = json!(number);
                content["user_expressions"] = json!({});
                content["payload"] = json!([]);
                content
            }
        }
    }

    /// Runs the cell in a task of its own: a panic is its outcome, and one that does not hear an interrupt is ended.
    async fn guarded(&self, cell: Cell, output: Output, cancel: CancellationToken) -> Outcome {
        let kernel = Arc::clone(&self.shared.kernel);
        let mut task = tokio::spawn(async move { kernel.execute(cell, output).await });
        let grace = self.cancel_grace;
        let deaf = async move {
            cancel.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            ended = &mut task => ended.unwrap_or_else(|error| Outcome::Error(log_fault(error))),
            () = deaf => {
                tracing::warn!("a cell did not stop when it was interrupted and was ended");
                task.abort();
                Outcome::Error(ErrorOutput::cancelled())
            }
        }
    }
}

/// There is no language of expressions beside the cell's.
fn refused(expressions: Map<String, Value>) -> Value {
    let refusal = json!({"status": "error", "ename": "Unsupported", "evalue": "user expressions are not supported",
        "traceback": []});
    expressions.into_iter().map(|(name, _)| (name, refusal.clone())).collect::<Map<_, _>>().into()
}

/// Requests that the client sent before it could know of the mistake. The reply goes out after this.
async fn sent_before(queue: &mut mpsc::Receiver<Arc<Message>>) -> Vec<Arc<Message>> {
    tokio::time::sleep(ABORT_WINDOW).await;
    let mut found = Vec::new();
    while let Ok(message) = queue.try_recv() {
        found.push(message);
    }
    found
}

async fn abort<K: Kernel>(shared: &Arc<Shared<K>>, outbox: &Outbox, message: &Arc<Message>) {
    let work =
        async { Reply { content: json!({"status": "aborted"}), metadata: json!({"status": "aborted"}) } };
    shared.bracket(message, outbox, Some("execute_reply"), work).await;
}
