//! Places that marks get, and that both writers take any of them.

use std::collections::BTreeMap;

use carrel_cell::problem::Span;

use super::{Chart, Panels};
use crate::aesthetic::Aes;
use crate::frame::{Kind, Value};
use crate::geom::Geom;
use crate::layer::{Drawn, Position, Row};
use crate::{grammar, picture, vega};

fn drawn(geom: Geom, position: Position, rows: &[(&str, &str, f64)]) -> Drawn {
    // Only points are cut into panels here.
    let panel = |k: &str| (geom == Geom::Point).then(|| k.to_owned());
    let row = |(x, k, y): &(&str, &str, f64)| Row {
        values: BTreeMap::from([
            (Aes::X, Value::Text((*x).to_owned())),
            (Aes::Colour, Value::Text((*k).to_owned())),
            (Aes::Y, Value::Number(*y)),
        ]),
        group: (*k).to_owned(),
        panel: [panel(k), None],
    };
    Drawn {
        geom,
        span: Span::default(),
        rows: rows.iter().map(row).collect(),
        kinds: BTreeMap::from([
            (Aes::X, Kind::Category),
            (Aes::Colour, Kind::Category),
            (Aes::Y, Kind::Number),
        ]),
        titles: BTreeMap::from([(Aes::X, "<x>".to_owned())]),
        fixed: BTreeMap::new(),
        transposed: false,
        position,
        width: 0.9,
        hinge: 10.0,
        offset: [0.0, 0.0],
        note: None,
    }
}

fn chart(src: &str, layer: Drawn) -> Chart {
    let spec = grammar::parse(src, Span::new(0, src.len())).unwrap();
    let chart = Chart::new(&spec, &[layer]).unwrap();
    assert!(picture::png(&chart, &spec).unwrap().len() > 1000);
    assert!(!picture::drawing(&chart, &spec).contains("<x>"));
    assert!(vega::document(&chart)["data"]["values"].as_array().is_some());
    chart
}

const ROWS: &[(&str, &str, f64)] = &[("a", "u", 2.0), ("a", "v", 3.0), ("b", "u", 1.0), ("b", "v", -4.0)];

#[test]
fn bars_are_stacked_in_the_order_of_the_legend_and_downwards_below_zero() {
    let chart = chart("VISUALISE x AS x DRAW bar", drawn(Geom::Bar, Position::Stack, ROWS));
    let ends: Vec<_> = chart.layers[0]
        .marks
        .iter()
        .map(|mark| (mark.y.from.number().unwrap(), mark.y.to.as_ref().unwrap().number().unwrap()))
        .collect();
    assert_eq!(ends, [(0.0, 2.0), (2.0, 5.0), (0.0, 1.0), (0.0, -4.0)]);
}

#[test]
fn bars_stand_side_by_side() {
    let chart = chart("VISUALISE x AS x DRAW bar", drawn(Geom::Bar, Position::Dodge, ROWS));
    let slots: Vec<_> = chart.layers[0].marks.iter().map(|mark| mark.slot).collect();
    assert_eq!((chart.layers[0].slots, slots), (2, vec![0, 1, 0, 1]));
}

#[test]
fn panels_hold_their_own_rows() {
    let chart = chart("VISUALISE x AS x DRAW point FACET k", drawn(Geom::Point, Position::Identity, ROWS));
    assert_eq!(chart.panels, Panels::Wrap { names: vec!["u".into(), "v".into()], columns: 2 });
    assert_eq!(chart.count(), 4);
}

#[test]
fn rows_without_a_place_are_left_out_and_said_so() {
    let chart = chart(
        "VISUALISE x AS x DRAW point",
        drawn(Geom::Point, Position::Identity, &[("a", "u", f64::NAN), ("b", "u", 1.0)]),
    );
    assert_eq!(chart.notes, ["1 row has no place and was left out"]);
}
