//! Requests and what they cause, message by message.

use bytes::Bytes;
use serde_json::json;

use crate::frontend::Frontend;

#[tokio::test]
async fn a_cell_echoes_between_busy_and_idle() {
    let mut front = Frontend::start().await;
    for count in 1..=2 {
        let id = front.execute("hello").await;
        front.busy(&id).await;
        let input = front.published("execute_input", &id).await;
        assert_eq!(input, json!({"code": "hello", "execution_count": count}));
        let result = front.published("execute_result", &id).await;
        assert_eq!(result["data"], json!({"text/plain": "hello"}));
        assert_eq!(result["execution_count"], count);
        let reply = front.shell_reply("execute_reply", &id).await;
        assert_eq!((&reply["status"], &reply["execution_count"]), (&json!("ok"), &json!(count)));
        front.idle(&id).await;
    }
    front.beat().await;
    front.finish().await;
}

#[tokio::test]
async fn silent_cells_say_nothing_and_do_not_count() {
    let mut front = Frontend::start().await;
    let id = front.send_shell("execute_request", json!({"code": "hello", "silent": true})).await;
    front.busy(&id).await;
    front.shell_reply("execute_reply", &id).await;
    front.idle(&id).await;
    let id = front.send_shell("execute_request", json!({"code": "print x", "store_history": false})).await;
    front.started(&id, "print x").await;
    front.stream(&id, "x\n").await;
    front.shell_reply("execute_reply", &id).await;
    front.idle(&id).await;
    let id = front.send_shell("history_request", json!({"hist_access_type": "tail", "n": 9})).await;
    front.busy(&id).await;
    assert_eq!(front.shell_reply("history_reply", &id).await["history"], json!([]));
    front.idle(&id).await;
    front.finish().await;
}

#[tokio::test]
async fn streams_are_gathered_and_stay_in_order() {
    let mut front = Frontend::start().await;
    let id = front.execute("lines 20000").await;
    front.started(&id, "lines 20000").await;
    let expected: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let (mut text, mut messages) = (String::new(), 0);
    while text.len() < expected.len() {
        text += front.published("stream", &id).await["text"].as_str().unwrap();
        messages += 1;
    }
    assert_eq!(text, expected);
    assert!(messages < 1000, "{messages} messages");
    front.shell_reply("execute_reply", &id).await;
    front.idle(&id).await;
    front.finish().await;
}

#[tokio::test]
async fn an_error_aborts_what_was_sent_behind_it() {
    let mut front = Frontend::start().await;
    let bad = front.execute("error").await;
    let behind = front.execute("print no").await;
    front.started(&bad, "error").await;
    assert_eq!(front.published("error", &bad).await["ename"], "Mistake");
    let reply = front.shell_reply("execute_reply", &bad).await;
    assert_eq!((&reply["status"], &reply["traceback"]), (&json!("error"), &json!(["Mistake: as you asked"])));
    front.idle(&bad).await;
    front.busy(&behind).await;
    assert_eq!(front.shell_reply("execute_reply", &behind).await, json!({"status": "aborted"}));
    front.idle(&behind).await;
    let after = front.execute("print yes").await;
    front.started(&after, "print yes").await;
    front.stream(&after, "yes\n").await;
    front.shell_reply("execute_reply", &after).await;
    front.idle(&after).await;
    front.finish().await;
}

#[tokio::test]
async fn without_stop_on_error_the_next_cell_runs() {
    let mut front = Frontend::start().await;
    let bad = front.send_shell("execute_request", json!({"code": "error", "stop_on_error": false})).await;
    let behind = front.execute("print yes").await;
    front.started(&bad, "error").await;
    front.published("error", &bad).await;
    front.shell_reply("execute_reply", &bad).await;
    front.idle(&bad).await;
    front.started(&behind, "print yes").await;
    front.stream(&behind, "yes\n").await;
    front.shell_reply("execute_reply", &behind).await;
    front.idle(&behind).await;
    front.finish().await;
}

#[tokio::test]
async fn a_panic_is_an_error_with_a_reference() {
    let mut front = Frontend::start().await;
    let id = front.execute("panic").await;
    front.started(&id, "panic").await;
    let error = front.published("error", &id).await;
    assert_eq!(error["ename"], "Internal");
    assert!(error["evalue"].as_str().unwrap().contains("logged under"), "{error}");
    assert!(!error["evalue"].as_str().unwrap().contains("as you asked"), "{error}");
    assert_eq!(front.shell_reply("execute_reply", &id).await["status"], "error");
    front.idle(&id).await;
    front.finish().await;
}

#[tokio::test]
async fn questions_are_answered_while_a_cell_runs_and_an_interrupt_ends_it() {
    let mut front = Frontend::start().await;
    let cell = front.execute("wait").await;
    front.started(&cell, "wait").await;
    front.stream(&cell, "waiting\n").await;

    let id = front.send_shell("complete_request", json!({"code": "ab", "cursor_pos": 2})).await;
    front.busy(&id).await;
    let reply = front.shell_reply("complete_reply", &id).await;
    let expected =
        json!({"status": "ok", "matches": ["ab!"], "cursor_start": 0, "cursor_end": 2, "metadata": {}});
    assert_eq!(reply, expected);
    front.idle(&id).await;

    let id =
        front.send_shell("inspect_request", json!({"code": "ab", "cursor_pos": 2, "detail_level": 0})).await;
    front.busy(&id).await;
    assert_eq!(front.shell_reply("inspect_reply", &id).await["data"], json!({"text/plain": "about ab"}));
    front.idle(&id).await;

    let id = front.send_shell("is_complete_request", json!({"code": "ab "})).await;
    front.busy(&id).await;
    let reply = front.shell_reply("is_complete_reply", &id).await;
    assert_eq!(reply, json!({"status": "incomplete", "indent": "  "}));
    front.idle(&id).await;

    let id = front.send_control("kernel_info_request", json!({})).await;
    front.busy(&id).await;
    assert_eq!(front.control_reply("kernel_info_reply", &id).await["implementation"], "echo");
    front.idle(&id).await;

    let stop = front.send_control("interrupt_request", json!({})).await;
    front.control_reply("interrupt_reply", &stop).await;
    assert_eq!(front.shell_reply("execute_reply", &cell).await["ename"], "Cancelled");
    // The two requests end side by side: each one's messages are in order, which one is first is open.
    let mut told = Vec::new();
    while told.len() < 4 {
        let (header, content) = front.iopub().await;
        told.push(format!("{} {}", header.msg_type, content["execution_state"].as_str().unwrap_or("-")));
    }
    told.sort();
    assert_eq!(told, ["error -", "status busy", "status idle", "status idle"]);
    front.finish().await;
}

#[tokio::test]
async fn a_cell_that_does_not_hear_is_ended() {
    let mut front = Frontend::start().await;
    let cell = front.execute("deaf").await;
    front.started(&cell, "deaf").await;
    front.stream(&cell, "deaf\n").await;
    front.handle.interrupt();
    assert_eq!(front.published("error", &cell).await["ename"], "Cancelled");
    front.shell_reply("execute_reply", &cell).await;
    front.idle(&cell).await;
    front.finish().await;
}

#[tokio::test]
async fn a_cell_asks_the_person_in_front() {
    let mut front = Frontend::start().await;
    let cell = front.execute("input name?").await;
    front.started(&cell, "input name?").await;
    assert_eq!(front.asked(&cell).await, json!({"prompt": "name?", "password": false}));
    front.send_stdin("input_reply", json!({"value": "ada"})).await;
    front.stream(&cell, "got ada\n").await;
    front.shell_reply("execute_reply", &cell).await;
    front.idle(&cell).await;
    let cell = front.send_shell("execute_request", json!({"code": "input x", "allow_stdin": false})).await;
    front.started(&cell, "input x").await;
    assert_eq!(front.published("error", &cell).await["ename"], "InputError");
    front.shell_reply("execute_reply", &cell).await;
    front.idle(&cell).await;
    front.finish().await;
}

#[tokio::test]
async fn unknown_comms_are_closed() {
    let mut front = Frontend::start().await;
    let id =
        front.send_shell("comm_open", json!({"comm_id": "c1", "target_name": "widgets", "data": {}})).await;
    front.busy(&id).await;
    assert_eq!(front.published("comm_close", &id).await, json!({"comm_id": "c1", "data": {}}));
    front.idle(&id).await;
    let id = front.send_shell("comm_info_request", json!({})).await;
    front.busy(&id).await;
    assert_eq!(front.shell_reply("comm_info_reply", &id).await, json!({"status": "ok", "comms": {}}));
    front.idle(&id).await;
    front.finish().await;
}

#[tokio::test]
async fn bad_messages_are_dropped_and_the_kernel_lives() {
    let mut front = Frontend::start().await;
    let part = Bytes::from_static;
    front.send_raw(vec![part(b"nonsense")]).await;
    front
        .send_raw(vec![
            part(b"<IDS|MSG>"),
            part(b"forged"),
            part(b"{}"),
            part(b"{}"),
            part(b"{}"),
            part(b"{}"),
        ])
        .await;
    front.send_shell("no_such_request", json!({})).await;
    let id = front.send_shell("execute_request", json!({"no": "code"})).await;
    front.busy(&id).await;
    assert_eq!(front.shell_reply("execute_reply", &id).await["ename"], "BadRequest");
    front.idle(&id).await;
    front.finish().await;
}

#[tokio::test]
async fn a_large_display_arrives_whole() {
    let mut front = Frontend::start().await;
    let id = front.execute("big 50000000").await;
    front.started(&id, "big 50000000").await;
    let shown = front.published("display_data", &id).await;
    assert_eq!(shown["data"]["text/plain"].as_str().unwrap().len(), 50_000_000);
    front.shell_reply("execute_reply", &id).await;
    front.idle(&id).await;
    front.finish().await;
}
