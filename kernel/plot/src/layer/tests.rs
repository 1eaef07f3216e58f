//! The machine, step by step, against scripted answers.

use carrel_cell::problem::Span;

use super::{Drawn, Job, MOST, Step};
use crate::aesthetic::Aes;
use crate::frame::{Column, Frame, Kind, Value};
use crate::grammar;
use crate::query::Source;

fn frame(columns: &[(&str, Kind)], rows: Vec<Vec<Value>>) -> Frame {
    let columns =
        columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect();
    Frame { columns, rows, complete: true }
}

/// Answers each question in turn; returns the questions and the layer.
fn play(src: &str, answers: Vec<Frame>) -> (Vec<String>, Drawn) {
    let at = src.find("VISUALISE").unwrap();
    let spec = grammar::parse(src, Span::new(at, src.len())).unwrap();
    let source = Source::new(src, Some(Span::new(0, at - 1))).unwrap();
    let known = [("a", Kind::Number), ("b", Kind::Number), ("k", Kind::Category)];
    let known = frame(&known, Vec::new()).columns;
    let (mut job, mut step) = Job::start(source, &spec, &spec.layers[0], &known).unwrap();
    let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
    loop {
        match step {
            Step::Done(drawn) => return (asked, drawn),
            Step::Ask(query, _) => {
                asked.push(query.sql);
                step = job.step(&answers.next().expect("more was asked")).unwrap();
            }
        }
    }
}

#[test]
fn a_histogram_asks_for_its_extent_and_then_for_bins() {
    let n = Value::Number;
    let (asked, drawn) = play(
        "SELECT a FROM t VISUALISE a AS x DRAW histogram SETTING bins => 4",
        vec![
            frame(&[("plot_x", Kind::Number)], Vec::new()),
            frame(&[("plot_low", Kind::Number), ("plot_high", Kind::Number)], vec![vec![n(0.0), n(8.0)]]),
            frame(&[("plot_bin", Kind::Number), ("plot_stat", Kind::Number)], vec![vec![n(3.0), n(5.0)]]),
        ],
    );
    assert!(asked[1].contains("min(") && asked[2].contains("GROUP BY ALL"), "{asked:?}");
    assert_eq!(drawn.rows[0].number(Aes::Xmin), Some(6.0));
    assert_eq!(drawn.rows[0].number(Aes::Y), Some(5.0));
}

#[test]
fn too_many_points_are_counted_and_thinned() {
    let row = || vec![Value::Number(1.0), Value::Number(2.0)];
    let kinds = [("plot_x", Kind::Number), ("plot_y", Kind::Number)];
    let (asked, drawn) = play(
        "SELECT a, b FROM t VISUALISE a AS x, b AS y DRAW point",
        vec![
            frame(&kinds, Vec::new()),
            frame(&kinds, (0..=MOST).map(|_| row()).collect()),
            frame(&[("plot_rows", Kind::Number)], vec![vec![Value::Number(25_000.0)]]),
            frame(&kinds, vec![row()]),
        ],
    );
    assert!(asked[3].contains("% 3 = 0"), "{}", asked[3]);
    assert_eq!(drawn.note.as_deref(), Some("drew every 3rd row of 25,000"));
}

#[test]
fn lines_are_ordered_and_grouped_by_categories() {
    let kinds = [("plot_x", Kind::Number), ("plot_y", Kind::Number), ("plot_colour", Kind::Category)];
    let row = |x: f64, k: &str| vec![Value::Number(x), Value::Number(0.0), Value::Text(k.to_owned())];
    let (_, drawn) = play(
        "SELECT * FROM t VISUALISE a AS x, b AS y, k AS colour DRAW line",
        vec![frame(&kinds, Vec::new()), frame(&kinds, vec![row(2.0, "u"), row(1.0, "v")])],
    );
    let found: Vec<_> = drawn.rows.iter().map(|row| (row.number(Aes::X), row.group.as_str())).collect();
    assert_eq!(found, [(Some(1.0), "v"), (Some(2.0), "u")]);
}
