//! Why a statement has no result, and what the cell says about it.

use arrow_flight::error::FlightError;
use carrel_cell::problem::{Ename, Problem};
use tonic::{Code, Status};

/// A statement or an action that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine refused or could not.
    #[error("the engine answered with an error")]
    Status(#[source] Box<Status>),
    /// The connection broke.
    #[error("the engine is gone")]
    Lost(#[source] Box<Status>),
    /// Its answer is not Arrow data.
    #[error("cannot read the engine's rows")]
    Unreadable(#[source] FlightError),
    /// Its answer is not the JSON that was expected.
    #[error("cannot read the engine's answer")]
    Json(#[source] serde_json::Error),
    /// A value has no text form.
    #[error("cannot draw a value")]
    Draw(#[source] arrow::error::ArrowError),
    /// An engine of our own does not start.
    #[error("the engine does not start: {0}")]
    NoStart(String),
}

/// The header in which the engine sends its problem as JSON.
const PROBLEM: &str = "carrel-problem-bin";

/// What the cell says. Faults are logged here, once, and the cell gets the reference.
#[must_use]
pub fn problem_of(failure: &Failure) -> Problem {
    match failure {
        Failure::Status(status) => from_header(status).unwrap_or_else(|| from_code(status)),
        Failure::Lost(status) => {
            tracing::warn!(%status, "the engine was lost");
            Problem::new(Ename::EngineLost, "the engine ended while this statement ran")
                .hint("run the cell again; session tables are kept")
        }
        Failure::NoStart(why) => Problem::new(Ename::EngineLost, format!("the engine does not start: {why}")),
        Failure::Unreadable(error) => fault(&error.to_string()),
        Failure::Json(error) => fault(&error.to_string()),
        Failure::Draw(error) => Problem::new(Ename::Unsupported, format!("a value cannot be drawn: {error}"))
            .hint("cast the column to text"),
    }
}

fn from_header(status: &Status) -> Option<Problem> {
    let value = status.metadata().get_bin(PROBLEM)?.to_bytes().ok()?;
    serde_json::from_slice(&value).ok()
}

fn from_code(status: &Status) -> Problem {
    let ename = match status.code() {
        Code::Cancelled => Ename::Cancelled,
        Code::InvalidArgument => Ename::SyntaxError,
        Code::Unimplemented => Ename::Unsupported,
        Code::ResourceExhausted => Ename::MemoryLimit,
        Code::PermissionDenied | Code::Unauthenticated => Ename::PolicyDenied,
        Code::NotFound => Ename::UnknownDataset,
        _ => return fault(&status.to_string()),
    };
    let message = if status.message().is_empty() { "the engine gave no reason" } else { status.message() };
    Problem::new(ename, message)
}

fn fault(cause: &str) -> Problem {
    let reference = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
    tracing::error!(reference, cause, "a statement ended in a fault");
    Problem::new(
        Ename::Internal,
        format!("a fault between the kernel and the engine, logged under {reference}"),
    )
}

#[cfg(test)]
mod tests {
    use tonic::metadata::{MetadataMap, MetadataValue};

    use super::*;

    #[test]
    fn the_engines_problem_arrives_as_it_was_sent() {
        let sent = Problem::new(Ename::UnknownColumn, "no column contry").hint("did you mean country?");
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(PROBLEM, MetadataValue::from_bytes(&serde_json::to_vec(&sent).unwrap()));
        let status = Status::with_metadata(Code::InvalidArgument, "no column contry", metadata);
        assert_eq!(problem_of(&Failure::Status(Box::new(status))), sent);
    }

    #[test]
    fn without_one_the_code_decides_and_faults_hide_their_text() {
        let status = Status::resource_exhausted("out of memory");
        assert_eq!(problem_of(&Failure::Status(Box::new(status))).ename, Ename::MemoryLimit);
        let problem = problem_of(&Failure::Status(Box::new(Status::internal("secret path /x"))));
        assert_eq!(problem.ename, Ename::Internal);
        assert!(!problem.message.contains("secret"));
    }
}
