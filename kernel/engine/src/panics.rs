//! A panic inside a statement is a fault of ours: logged once with a reference, shown as that reference.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use carrel_cell::problem::Problem;
use carrel_query::problems;
use futures::FutureExt;

/// Runs a future; a panic becomes a problem.
pub async fn guard<T>(handle: &str, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(answer) => answer,
        Err(payload) => Err(problems::logged(handle, &describe(&*payload))),
    }
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
