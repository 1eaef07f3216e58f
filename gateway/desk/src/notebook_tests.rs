//! Tests of `notebook`.

use serde_json::{Value, json};

use super::*;

fn cell(extra: Value) -> Value {
    let mut cell = json!({"id": "a", "cell_type": "code", "metadata": {}, "source": "x\ny", "outputs": [], "execution_count": null});
    cell.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    cell
}

fn document(cells: Value) -> Value {
    json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
}

#[test]
fn files_look_as_nbformat_writes_them() {
    let text = "{\n \"cells\": [\n  {\n   \"cell_type\": \"code\",\n   \"execution_count\": null,\n   \"id\": \"a\",\n   \"metadata\": {},\n   \"outputs\": [],\n   \"source\": [\n    \"x\\n\",\n    \"y\"\n   ]\n  }\n ],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n";
    let notebook = accept(document(json!([cell(json!({}))]))).unwrap();
    assert_eq!(String::from_utf8(to_file(&notebook).unwrap()).unwrap(), text);
    assert_eq!(parse(text.as_bytes(), "n").unwrap().value, notebook.value);
}

#[test]
fn outputs_survive() {
    let outputs = json!([
        {"output_type": "stream", "name": "stdout", "text": "l1\nl2\n"},
        {"output_type": "display_data", "metadata": {}, "data": {
            "image/png": "iVBORw0KGgo=", "text/plain": "<img>", "text/html": "",
            "application/json": ["a\n", "b"], "application/vnd.vegalite.v5+json": {"mark": ["bar\n"]}}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t1\n", "t2"]}
    ]);
    let notebook =
        accept(document(json!([cell(json!({"outputs": outputs, "execution_count": 7}))]))).unwrap();
    let back = parse(&to_file(&notebook).unwrap(), "n").unwrap();
    assert_eq!(back.value["cells"][0]["outputs"], outputs);
    assert!(back.remark.is_none());
}

#[test]
fn what_breaks_readers_is_refused() {
    let bad = [
        json!(null),
        json!("text"),
        json!({"cells": []}),
        json!({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}),
        json!({"nbformat": 4, "metadata": {}, "cells": []}),
        json!({"nbformat": 4, "nbformat_minor": 5, "cells": []}),
        document(json!({})),
        document(json!([1])),
        document(json!([{"bogus": 1}])),
        document(json!([cell(json!({"cell_type": "weird"}))])),
        document(json!([cell(json!({"source": 1}))])),
        document(json!([cell(json!({"source": ["a", 1]}))])),
        document(json!([cell(json!({"metadata": null}))])),
        document(json!([cell(json!({"outputs": null}))])),
        document(json!([cell(json!({"execution_count": "1"}))])),
        document(json!([cell(json!({"outputs": [{"output_type": "stream"}]}))])),
        document(json!([cell(json!({"outputs": [{"output_type": "display_data", "data": []}]}))])),
        document(json!([cell(json!({"outputs": [{"output_type": "weird"}]}))])),
    ];
    for value in bad {
        let text = value.to_string();
        let error = accept(value).map(|_| ()).unwrap_err();
        assert_eq!(error.status(), 400, "{text}");
        assert!(error.to_string().contains("nothing was saved"), "{error}");
    }
}

#[test]
fn what_only_breaks_the_schema_is_remarked() {
    let mut no_id = cell(json!({}));
    no_id.as_object_mut().unwrap().remove("id");
    for cells in [json!([no_id]), json!([cell(json!({"id": ""}))]), json!([cell(json!({})), cell(json!({}))])]
    {
        let notebook = accept(document(cells)).unwrap();
        assert!(notebook.remark.unwrap().starts_with("Notebook validation failed: "));
    }
}

#[test]
fn files_that_are_no_notebooks_say_why() {
    for (bytes, why) in
        [(&b""[..], "empty"), (b"{", "EOF"), (b"\xff", "UTF-8"), (b"{\"a\": NaN}", "expected")]
    {
        let error = parse(bytes, "n.ipynb").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let deep = "[".repeat(100_000);
    assert!(parse(deep.as_bytes(), "n").is_err());
}
