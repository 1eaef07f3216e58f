//! A kernel whose language is a few words: it echoes, prints, fails, waits, asks, as tests need it.

use kernel_channels::kernel::Object;
use kernel_channels::{Cell, CompleteReply, ErrorOutput, IsComplete, Kernel, KernelInfo, Outcome, Output};
use serde_json::{Map, json};

/// Speaks `print TEXT`, `lines N`, `messages N`, `big N`, `error`, `panic`, `wait`, `deaf`, `input PROMPT`; echoes all else.
pub(crate) struct Echo;

impl Kernel for Echo {
    fn info(&self) -> KernelInfo {
        let language =
            json!({"name": "echo", "version": "1", "mimetype": "text/plain", "file_extension": ".txt"});
        KernelInfo {
            implementation: "echo".to_owned(),
            implementation_version: "1".to_owned(),
            language_info: language.as_object().cloned().unwrap_or_default(),
            banner: "echo".to_owned(),
            help_links: Vec::new(),
        }
    }

    async fn execute(&self, cell: Cell, output: Output) -> Outcome {
        let (word, rest) = cell.code.split_once(' ').unwrap_or((&cell.code, ""));
        let count = || rest.parse::<usize>().unwrap_or(0);
        match word {
            "print" => output.stdout(format!("{rest}\n")).await,
            "lines" => {
                for n in 0..count() {
                    output.stdout(format!("line {n}\n")).await;
                }
            }
            "messages" => {
                for n in 0..count() {
                    output.display(text(format!("message {n}")), Map::new(), None).await;
                }
            }
            "big" => output.display(text("x".repeat(count())), Map::new(), None).await,
            "error" => return failed("Mistake", "as you asked"),
            #[expect(clippy::panic, reason = "the point of this word")]
            "panic" => panic!("as you asked"),
            "wait" => {
                output.stdout("waiting\n").await;
                cell.cancel.cancelled().await;
                return failed("Cancelled", "stopped");
            }
            "deaf" => {
                output.stdout("deaf\n").await;
                std::future::pending::<()>().await;
            }
            "input" => match output.input(rest, false).await {
                Ok(line) => output.stdout(format!("got {line}\n")).await,
                Err(error) => return failed("InputError", &error.to_string()),
            },
            _ => output.result(text(cell.code), Map::new()).await,
        }
        Outcome::Ok
    }

    async fn complete(&self, code: String, cursor: usize) -> CompleteReply {
        CompleteReply { matches: vec![format!("{code}!")], start: 0, end: cursor, metadata: Map::new() }
    }

    async fn inspect(&self, code: String, _cursor: usize, _detail: u8) -> Option<Object> {
        (!code.is_empty()).then(|| text(format!("about {code}")))
    }

    fn is_complete(&self, code: &str) -> IsComplete {
        if code.ends_with(' ') { IsComplete::Incomplete("  ") } else { IsComplete::Complete }
    }
}

fn text(text: String) -> Object {
    Map::from_iter([("text/plain".to_owned(), text.into())])
}

fn failed(ename: &str, evalue: &str) -> Outcome {
    Outcome::Error(ErrorOutput {
        ename: ename.to_owned(),
        evalue: evalue.to_owned(),
        traceback: vec![format!("{ename}: {evalue}")],
    })
}
