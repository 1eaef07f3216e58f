//! Every clause, read; any text, survived.

use carrel_cell::problem::{Ename, Span};
use proptest::prelude::*;

use super::parse;
use crate::aesthetic::Aes;
use crate::geom::Geom;
use crate::spec::{Data, Transform};

fn spec(src: &str) -> crate::spec::Spec {
    parse(src, Span::new(0, src.len())).unwrap_or_else(|problem| panic!("{src}: {problem}"))
}

#[test]
fn all_clauses_are_read() {
    let src = "VISUALISE a AS x, date_trunc('day', b) AS y, 'k' AS fill FROM s.t \
        DRAW point MAPPING c AS size FROM 'f.parquet' SETTING opacity => 0.5, shape => 'square' FILTER a > 1 AND b < 2 \
        PARTITION BY p, q ORDER BY a DESC \
        PLACE rule SETTING y => (1, 2) \
        SCALE CONTINUOUS x FROM (0, null) VIA log10 SETTING reverse => true \
        SCALE fill TO ('red', '#00f') RENAMING 'k' => 'K', 'l' => null \
        FACET r BY c SETTING free => ('x', 'y') PROJECT y, x TO cartesian LABEL title => 'T', x => null";
    let spec = spec(src);
    assert_eq!(spec.mappings.len(), 3);
    assert!(matches!(spec.mappings[1].data, Data::Sql(span) if span.of(src) == "date_trunc('day', b)"));
    assert_eq!(spec.source.unwrap().span.of(src), "s.t");
    let point = &spec.layers[0];
    assert_eq!((point.geom, point.mappings[0].aes), (Geom::Point, Some(Aes::Size)));
    assert_eq!(point.filter.unwrap().of(src), "a > 1 AND b < 2");
    assert_eq!(point.order.unwrap().of(src), "a DESC");
    assert_eq!(point.partition.len(), 2);
    assert!(spec.layers[1].placed);
    assert_eq!((spec.scales[0].via, spec.scales[0].reverse), (Transform::Log, true));
    assert_eq!(spec.scales[1].renaming[1], ("l".to_owned(), None));
    let facet = spec.facet.unwrap();
    assert!(facet.free_x && facet.free_y && facet.columns.is_some());
    assert!(spec.flipped);
    assert_eq!(spec.labels[1], ("x".to_owned(), String::new()));
}

#[test]
fn what_is_wrong_has_its_place() {
    for (src, ename, place) in [
        ("VISUALISE a AS x DRAW pint", Ename::SyntaxError, "pint"),
        ("VISUALISE a AS x DRAW point SETTING colour", Ename::SyntaxError, ""),
        ("VISUALISE a AS x DRAW point SCALE BINNED x", Ename::Unsupported, "BINNED"),
        ("VISUALISE a AS x DRAW point SCALE fill TO virdis", Ename::BadOption, "virdis"),
        ("VISUALISE a AS x DRAW line MAPPING s AS shape", Ename::BadOption, "s AS shape"),
        ("VISUALISE a DRAW point", Ename::SyntaxError, "a"),
        ("VISUALISE a AS x, b AS x DRAW point", Ename::SyntaxError, "b AS x"),
        ("VISUALISE a AS x DRAW point FACTE b", Ename::SyntaxError, "FACTE"),
        ("VISUALISE a AS x DRAW point MAPPING b) AS y", Ename::SyntaxError, ")"),
        ("VISUALISE a AS x PLACE rule MAPPING b AS y", Ename::SyntaxError, "MAPPING"),
    ] {
        let problem = parse(src, Span::new(0, src.len())).unwrap_err();
        assert_eq!((problem.ename, problem.span.unwrap().of(src)), (ename, place), "{src}: {problem}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_plot_or_a_problem(words in proptest::collection::vec(
        prop_oneof![
            Just("VISUALISE"), Just("DRAW"), Just("point"), Just("MAPPING"), Just("AS"), Just("x"), Just("=>"), Just("("),
            Just(")"), Just(","), Just("SCALE"), Just("TO"), Just("FROM"), Just("'a'"), Just("1"), Just("*"), Just("é"),
            Just("SETTING"), Just("FACET"), Just("LABEL"), Just("ORDER"), Just("BY"), Just("PLACE"), Just("-"), Just("[")
        ], 0..24)) {
        let src = format!("VISUALISE {}", words.join(" "));
        if let Err(problem) = parse(&src, Span::new(0, src.len())) {
            let span = problem.span.unwrap();
            prop_assert!(span.end <= src.len() && src.get(span.start..span.end).is_some());
        }
    }
}
