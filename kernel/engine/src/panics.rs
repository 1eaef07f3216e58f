//! A panic inside a statement is a fault of ours: logged once with a reference, shown as that reference.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use carrel_cell::problem::{Ename, Problem};
use futures::FutureExt;

/// Runs a future; a panic becomes a problem.
pub async fn guard<T>(handle: &str, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(answer) => answer,
        Err(payload) => Err(internal(handle, &describe(&*payload))),
    }
}

/// Logs a fault and gives the problem that names its reference.
pub fn internal(handle: &str, what: &str) -> Problem {
    let reference = uuid::Uuid::new_v4().simple().to_string();
    let reference = &reference[..8];
    tracing::error!(
        fault.reference = reference,
        statement = handle,
        fault.cause = what,
        "fault in a statement"
    );
    Problem::new(Ename::Internal, format!("this is a fault of Carrel, logged as {reference}"))
        .hint("the session and its tables are unharmed; tell the administrator the reference")
}

/// Sends the place of a panic to the log instead of the terminal.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.place = place, panic.message = describe(info.payload()), "panic");
    }));
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
