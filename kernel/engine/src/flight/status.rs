//! Problems as gRPC errors: readable text for any client, the whole problem in a header for ours.

use carrel_cell::problem::{Ename, Problem};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Code, Status};

/// The header with the problem as JSON.
const HEADER: &str = "carrel-problem-bin";

/// Headers are small: a message is cut to this many characters.
const LONGEST: usize = 1500;

/// The gRPC error of a problem.
pub(super) fn to_status(problem: &Problem) -> Status {
    let mut problem = problem.clone();
    problem.message = cut(&problem.message);
    problem.hint = problem.hint.as_deref().map(cut);
    let text = match &problem.hint {
        Some(hint) => format!("{}: {} ({hint})", problem.ename, problem.message),
        None => problem.to_string(),
    };
    let mut metadata = MetadataMap::new();
    if let Ok(json) = serde_json::to_vec(&problem) {
        metadata.insert_bin(HEADER, BinaryMetadataValue::from_bytes(&json));
    }
    Status::with_metadata(code(problem.ename), text, metadata)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn code(ename: Ename) -> Code {
    match ename {
        Ename::UnknownDataset | Ename::UnknownModel | Ename::FileNotFound => Code::NotFound,
        Ename::AlreadyExists => Code::AlreadyExists,
        Ename::Unsupported => Code::Unimplemented,
        Ename::MemoryLimit | Ename::DiskLimit => Code::ResourceExhausted,
        Ename::Cancelled => Code::Cancelled,
        Ename::CorruptFile => Code::DataLoss,
        Ename::PolicyDenied => Code::PermissionDenied,
        Ename::EngineLost | Ename::SourceChanged => Code::Aborted,
        // not "unavailable", which would mean this engine
        Ename::SourceUnavailable => Code::FailedPrecondition,
        Ename::Internal => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_holds_the_problem() {
        let problem = Problem::new(Ename::UnknownColumn, "x".repeat(5000)).hint("é");
        let status = to_status(&problem);
        assert_eq!(status.code(), Code::InvalidArgument);
        let bytes = status.metadata().get_bin(HEADER).unwrap().to_bytes().unwrap();
        let back: Problem = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((back.ename, back.hint.as_deref()), (Ename::UnknownColumn, Some("é")));
        assert_eq!(back.message.chars().count(), LONGEST + 1);
    }
}
