//! The built `carrel-shim`, outside a jail, with a scripted kernel (examples/fake-kernel.rs): what the gateway relies on.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: what fails here is the finding"
)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use carrel_wire::Channel;
use gateway_shim::client::Delivery;
use gateway_shim::protocol::{Cmd, Event, From, Role, State};
use harness::{LIMIT, Shim, content, fake_kernel, status, text};
use serde_json::json;

#[tokio::test]
async fn a_hundred_thousand_lines_arrive_in_order() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let lines = client.run("lines 100000").await;
    assert_eq!(lines.len(), 100_000);
    assert!(lines.iter().enumerate().all(|(n, line)| *line == format!("{n}\n")));
}

#[tokio::test]
async fn a_slow_client_lags_in_the_log_and_loses_nothing() {
    let shim = Shim::with_kernel(&["--memory-log", "100000"]);
    let mut slow = shim.client("slow", From::Now).await;
    let mut quick = shim.client("quick", From::Now).await;
    // The slow one reads nothing while everything is printed: the log goes to the scratch file.
    assert_eq!(quick.run("lines 20000").await.len(), 20_000);
    let mut lines = 0;
    while lines < 20_000 {
        if let Delivery::Message { message, .. } = slow.next().await
            && let Some(line) = text(&message)
        {
            assert_eq!(line, format!("{lines}\n"));
            lines += 1;
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_gets_each_message_once() {
    let shim = Shim::with_kernel(&["--memory-log", "50000"]);
    let mut client = shim.client("a", From::Now).await;
    let id = client.ask("lines 5000").await;
    let mut seqs = Vec::new();
    let mut lines = Vec::new();
    let mut from = From::Now;
    // Leaves after every 700 messages, with the next one half read.
    'all: loop {
        for _ in 0..700 {
            let Delivery::Message { seq, message, .. } = client.next().await else { continue };
            seqs.push(seq);
            lines.extend(text(&message));
            if status(&message).as_deref() == Some("idle") && message.parent().unwrap().msg_id == id {
                break 'all;
            }
        }
        let last = *seqs.last().unwrap();
        if lines.len() % 2 == 0 {
            // By acknowledgement, as when the gateway lived on …
            client.conn.sender.ack(last).await.unwrap();
            from = From::Resume { written: None };
        } else {
            // … and by bytes, as after it was killed: 10 bytes a message, the next message half written.
            let pairs: Vec<_> = (last.saturating_sub(50)..last + 5).map(|seq| (seq, seq * 10)).collect();
            client.conn.sender.offsets(&pairs).await.unwrap();
            from = From::Resume { written: Some(last * 10 + 5) };
        }
        // A command behind them tells that they were read.
        client.command(1, Cmd::Status).await;
        drop(client);
        client = shim.client("a", from).await;
        assert!(client.conn.welcome.resumed);
        assert_eq!(client.conn.welcome.lost, 0);
    }
    assert_ne!(from, From::Now, "it left at least once");
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(lines, (0..5000).map(|n| format!("{n}\n")).collect::<Vec<_>>());
}

#[tokio::test]
async fn replies_go_to_the_asker_and_iopub_to_all() {
    let shim = Shim::with_kernel(&[]);
    let mut a = shim.client("a", From::Now).await;
    let mut b = shim.client("b", From::Now).await;
    let mut watcher = shim.connect(Role::Control, "gateway", From::Now).await;
    let (ida, idb) = (a.ask("lines 1").await, b.ask("lines 2").await);
    let answers = a.answers(&ida).await;
    assert!(answers.iter().any(|(_, channel, _)| *channel == Channel::Shell));
    for (client, own, other) in [(&mut b, idb.clone(), ida.clone()), (&mut a, ida.clone(), idb.clone())] {
        let last = client.ask("").await;
        let mut parents = Vec::new();
        loop {
            let Delivery::Message { channel, message, .. } = client.next().await else { continue };
            let parent = message.parent().unwrap().msg_id;
            if parent == last && status(&message).as_deref() == Some("idle") {
                break;
            }
            parents.push((channel, parent));
        }
        assert!(!parents.contains(&(Channel::Shell, other.clone())), "a reply went to another session");
        assert!(parents.contains(&(Channel::Iopub, other)) || own == ida);
    }
    let mut idle = 0;
    while idle < 4 {
        if let Delivery::Message { channel, message, .. } = watcher.next().await {
            assert_eq!(channel, Channel::Iopub);
            let ours = message.parent().unwrap().session != "a" && message.parent().unwrap().session != "b";
            idle += u32::from(!ours && status(&message).as_deref() == Some("idle"));
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_of_long_output_and_need_not_take_it() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let mut watcher = shim.connect(Role::Control, "gateway", From::Now).await;
    let id = client.ask("long 200000").await;
    let answers = client.answers(&id).await;
    assert!(answers.iter().any(|(_, _, message)| text(message).is_some_and(|text| text.len() == 200_000)));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(state, _)| state != "idle") {
        let Delivery::Message { message, .. } = watcher.next().await else { continue };
        if message.parent().unwrap().msg_id == id {
            let msg_type = message.header().unwrap().msg_type;
            seen.push((status(&message).unwrap_or(msg_type), message.size()));
        }
    }
    assert!(seen.iter().any(|(what, _)| what == "busy"), "{seen:?}");
    assert!(seen.iter().any(|(what, size)| what == "stream" && *size < 2000), "{seen:?}");
}

#[tokio::test]
async fn the_kernel_can_ask_back() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let id = client.ask("ask").await;
    loop {
        let Delivery::Message { channel, message, .. } = client.next().await else { continue };
        if channel == Channel::Stdin {
            assert_eq!(message.header().unwrap().msg_type, "input_request");
            break;
        }
    }
    client.send(Channel::Stdin, "input_reply", &json!({"value": "forty-two"})).await;
    let answers = client.answers(&id).await;
    assert!(answers.iter().any(|(_, _, message)| text(message).as_deref() == Some("forty-two")));
}

#[tokio::test]
async fn an_interrupt_reaches_the_running_cell_either_way() {
    for (option, evalue) in [("signal", "SIGINT"), ("message", "interrupt_request")] {
        let shim = Shim::with_kernel(&["--interrupt", option]);
        let mut client = shim.client("a", From::Now).await;
        let id = client.ask("sleep").await;
        loop {
            if let Delivery::Message { message, .. } = client.next().await
                && text(&message).is_some()
            {
                break;
            }
        }
        assert!(client.command(7, Cmd::Interrupt).await.ok);
        let answers = client.answers(&id).await;
        let (_, _, reply) = answers.iter().find(|(_, channel, _)| *channel == Channel::Shell).unwrap();
        assert_eq!(content(reply)["evalue"], evalue);
    }
}

#[tokio::test]
async fn a_restart_gives_a_new_kernel_and_keeps_log_and_session() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let Event::Started { pid, .. } = client.event().await else { panic!("started first") };
    assert_eq!(client.run("lines 1").await, ["0\n"]);
    assert!(client.command(1, Cmd::Restart).await.ok);
    assert_eq!(client.event().await, Event::Restarting { attempt: 0 });
    let Event::Exited { exit, expected: true } = client.event().await else { panic!("exited next") };
    assert_eq!(exit.code, Some(0), "it ended by shutdown_request");
    let Event::Started { pid: new, restarts } = client.event().await else { panic!("started last") };
    assert!(new != pid && restarts == 1);
    assert_eq!(client.run("lines 2").await, ["0\n", "1\n"]);
    let status = client.command(2, Cmd::Status).await;
    assert_eq!(status.responsive, Some(true));
    assert_eq!(status.kernel.unwrap().state, State::Alive);
}

#[tokio::test]
async fn a_kernel_that_hangs_is_restarted_by_force() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    client.event_that(|event| matches!(event, Event::Started { .. })).await;
    client.ask("spin").await;
    loop {
        if let Delivery::Message { message, .. } = client.next().await
            && status(&message).as_deref() == Some("busy")
        {
            break;
        }
    }
    assert!(client.command(1, Cmd::Restart).await.ok);
    let exited = client.event_that(|event| matches!(event, Event::Exited { .. })).await;
    let Event::Exited { exit, .. } = exited else { panic!("{exited:?}") };
    assert_eq!(exit.signal, Some(15));
    assert_eq!(client.run("lines 1").await, ["0\n"]);
}

#[tokio::test]
async fn a_kernel_that_dies_is_told_and_started_again() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    client.ask("exit 7").await;
    let died = client.event_that(|event| matches!(event, Event::Exited { .. })).await;
    let Event::Exited { exit, expected } = died else { panic!("{died:?}") };
    assert_eq!((exit.code, exit.signal, expected), (Some(7), None, false));
    assert_eq!(client.event().await, Event::Restarting { attempt: 1 });
    assert!(matches!(client.event().await, Event::Started { restarts: 1, .. }));
    assert_eq!(client.run("lines 1").await, ["0\n"]);
}

#[tokio::test]
async fn a_kernel_that_cannot_live_is_dead_after_five_restarts() {
    let shim = Shim::start(&[], &[fake_kernel().to_str().unwrap(), "fail"]);
    let mut client = shim.client("a", From::Seq(1)).await;
    let mut attempts = Vec::new();
    let reason = loop {
        match client.event().await {
            Event::Restarting { attempt } => attempts.push(attempt),
            Event::Dead { reason } => break reason,
            _ => {}
        }
    };
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
    assert!(reason.contains("exit code 3"), "{reason}");
    let late = shim.client("b", From::Now).await;
    assert_eq!(late.conn.welcome.kernel.state, State::Dead);
    let again = client.command(1, Cmd::Restart).await;
    assert!(!again.ok && again.error.unwrap().contains("died"));
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let shim = Shim::start(&[], &["/no/such/kernel", "{connection_file}"]);
    let mut client = shim.client("a", From::Seq(1)).await;
    let Event::Dead { reason } = client.event().await else { panic!("dead at once") };
    assert!(reason.contains("/no/such/kernel"), "{reason}");
}

#[tokio::test]
async fn what_is_lost_is_announced() {
    let shim = Shim::with_kernel(&["--memory-log", "20000", "--scratch-log", "200000"]);
    let mut gone = shim.client("gone", From::Now).await;
    assert_eq!(gone.run("lines 1").await, ["0\n"]);
    drop(gone);
    let mut other = shim.client("other", From::Now).await;
    // In steps that fit the bounds, so that only the one who is gone loses anything.
    for _ in 0..100 {
        assert_eq!(other.run("lines 50").await.len(), 50);
    }
    let mut gone = shim.client("gone", From::Resume { written: None }).await;
    let welcome = gone.conn.welcome.clone();
    assert!(welcome.resumed && welcome.lost > 1000, "{welcome:?}");
    let Delivery::Event { seq, event: Event::Lost { first, last } } = gone.next().await else {
        panic!("the gap is announced first");
    };
    assert_eq!((seq, last - first + 1, last + 1), (last, welcome.lost, welcome.at));
    let Delivery::Message { seq, .. } = gone.next().await else { panic!("then it goes on") };
    assert_eq!(seq, last + 1);
}

#[tokio::test]
async fn large_buffers_pass_whole() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let id = client.ask("bytes 20000000").await;
    let answers = client.answers(&id).await;
    let buffers: Vec<_> = answers.iter().flat_map(|(_, _, message)| &message.buffers).collect();
    assert_eq!(buffers.len(), 1);
    assert!(buffers[0].len() == 20_000_000 && buffers[0].iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn a_forged_message_is_dropped() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    assert_eq!(client.run("forge").await, Vec::<String>::new());
    assert_eq!(client.run("lines 1").await, ["0\n"]);
}

#[tokio::test]
async fn the_kernel_starts_in_its_folder_and_orphans_are_reaped() {
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let here = client.run("where").await;
    assert_eq!(Path::new(&here[0]), shim.folder.path().join("home/work").canonicalize().unwrap());
    let pid = client.run("orphan").await;
    let orphan = PathBuf::from("/proc").join(&pid[0]);
    for _ in 0..LIMIT.as_millis() / 5 {
        if !orphan.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("process {} is still there", pid[0]);
}

#[tokio::test]
async fn garbage_closes_its_connection_only() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    for garbage in [
        &b"\xff\xff\xff\xff\x01"[..],
        b"\x02\0\0\0\x01{",
        b"\x01\0\0\0\x63",
        b"\x09\0\0\0\x03\0\0\0\0\0\0\0\0",
        b"\0\0\0\0",
    ] {
        let mut stream = tokio::net::UnixStream::connect(shim.folder.path().join("main.sock")).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.unwrap().ok();
        assert!(rest.is_empty());
    }
    assert_eq!(client.run("lines 1").await, ["0\n"]);
}

#[tokio::test]
async fn a_newer_connection_takes_the_session_over() {
    let shim = Shim::with_kernel(&[]);
    let mut old = shim.client("a", From::Now).await;
    old.event_that(|event| matches!(event, Event::Started { .. })).await;
    let mut new = shim.client("a", From::Resume { written: None }).await;
    while let Ok(Some(_)) = tokio::time::timeout(LIMIT, old.conn.receiver.next()).await.unwrap() {}
    assert_eq!(new.run("lines 1").await, ["0\n"]);
}

#[tokio::test]
async fn shutdown_answers_and_ends() {
    let mut shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    client.event_that(|event| matches!(event, Event::Started { .. })).await;
    assert!(client.command(1, Cmd::Shutdown).await.ok);
    assert!(shim.wait().success());
}

#[tokio::test]
async fn sigterm_ends_kernel_and_shim() {
    let mut shim = Shim::with_kernel(&[]);
    let mut client = shim.client("a", From::Now).await;
    let Event::Started { pid, .. } = client.event().await else { panic!("started first") };
    let id = rustix::process::Pid::from_child(&shim.child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(shim.wait().success());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
}

#[test]
fn usage_errors_exit_64() {
    let output = Command::new(env!("CARGO_BIN_EXE_carrel-shim")).arg("--wrong").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
}
