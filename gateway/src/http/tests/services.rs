//! Services: who sees and makes them, what their tokens may do, and that their pages come from them.

use super::*;
use carrel_hub::ServiceName;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpListener;

const CONFIG: &str = "[[role]]\nname = \"lister\"\nscopes = [\"list:users\", \"read:services!service\"]\nservices = [\"made\"]\n\
                      [[role]]\nname = \"user\"\nscopes = [\"self\", \"access:services!service=made\"]";
const SECRET: &str = "a-secret-of-some-length";

/// A program that answers every request with what it was sent, and whatever `head` says.
fn echo(head: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut said, mut part) = (Vec::new(), [0; 4096]);
            while !said.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(n) if n > 0 => said.extend_from_slice(&part[..n]),
                    _ => break,
                }
            }
            let length = said.len();
            let _ = write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(&said);
        }
    });
    url
}

#[tokio::test]
async fn services_are_made_seen_and_deleted_by_who_may() {
    let w = World::with(CONFIG).await;
    let (root, ada) = (w.token("root", &["inherit"]).await, w.token("ada", &["inherit"]).await);
    let path = "/hub/api/services/made";
    let spec = json!({"api_token": SECRET, "info": {"a": 1}, "url": "http://127.0.0.1:9", "display": false});
    assert_eq!(w.json("POST", path, &ada, spec.clone()).await.0, 403);
    let (status, made) = w.json("POST", path, &root, spec.clone()).await;
    let want = json!({"kind": "service", "name": "made", "admin": false, "roles": ["lister"], "url": "http://127.0.0.1:9",
                      "prefix": "/services/made/", "command": [], "pid": 0, "info": {"a": 1}, "display": false});
    assert_eq!((status, made), (201, want.clone()));
    assert_eq!(w.json("POST", path, &root, spec.clone()).await.0, 409);
    assert_eq!(w.json("GET", "/hub/api/services", &root, Value::Null).await, (200, json!({"made": want})));
    for (body, want) in [
        (json!({}), "must say something"),
        (json!({"command": ["x"]}), "runs already"),
        (json!({"colour": 1}), "unknown field"),
        (json!({"url": 5}), "url must be a text"),
        (json!({"url": "http://10.0.0.1:80"}), "hub.service_hosts"),
        (json!({"url": "https://127.0.0.1"}), "must be http://"),
        (json!({"api_token": "short"}), "api_token must have"),
        (json!({"name": "another"}), "another than that of the address"),
        (json!({"oauth_client_allowed_scopes": ["fly:moon"]}), "does not exist"),
        (json!({"oauth_client_id": "jupyterhub-user-ada"}), "must begin with service-"),
        (json!({"oauth_redirect_uri": "//evil.example"}), "redirect address"),
    ] {
        let (status, answer) = w.json("POST", "/hub/api/services/other", &root, body.clone()).await;
        assert!(status == 400 && answer["message"].as_str().unwrap().contains(want), "{body}: {answer}");
    }
    let taken = json!({"api_token": SECRET});
    assert_eq!(w.json("POST", "/hub/api/services/other", &root, taken).await.0, 409, "its token is taken");
    assert_eq!(w.json("POST", "/hub/api/services/a%2Fb", &root, spec).await.0, 400);
    // nobody gives what they do not hold
    let some = w.token("root", &["admin:services"]).await;
    for body in [json!({"admin": true}), json!({"oauth_client_allowed_scopes": ["admin:users"]})] {
        let (status, answer) = w.json("POST", "/hub/api/services/more", &some, body).await;
        assert!(status == 400 && answer["message"].as_str().unwrap().contains("you do not hold"), "{answer}");
    }
    assert_eq!(w.json("POST", "/hub/api/services/more", &some, json!({"display": true})).await.0, 201);
    assert_eq!(w.json("DELETE", path, &ada, Value::Null).await.0, 403);
    assert_eq!(w.json("DELETE", path, &root, Value::Null).await.0, 200);
    assert_eq!(w.json("DELETE", path, &root, Value::Null).await.0, 404);
    assert_eq!(w.json("GET", "/hub/api/user", &format!("token {SECRET}"), Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_service_s_token_is_the_service_with_its_roles() {
    let w = World::with(CONFIG).await;
    let root = w.token("root", &["inherit"]).await;
    w.json("POST", "/hub/api/services/made", &root, json!({"api_token": SECRET})).await;
    w.json(
        "POST",
        "/hub/api/services/strong",
        &root,
        json!({"api_token": "the-strong-one-s-token", "admin": true}),
    )
    .await;
    let made = format!("Bearer {SECRET}");
    let (status, me) = w.json("GET", "/hub/api/user", &made, Value::Null).await;
    assert_eq!(
        (status, &me["kind"], &me["name"], &me["admin"]),
        (200, &json!("service"), &json!("made"), &json!(false))
    );
    let scopes = json!([
        "list:users",
        "read:services!service=made",
        "read:services:name!service=made",
        "read:users:name"
    ]);
    assert_eq!((&me["scopes"], &me["session_id"]), (&scopes, &Value::Null));
    for (method, path, want) in [
        ("GET", "/hub/api/users", 200),
        ("GET", "/hub/api/services/made", 200),
        ("GET", "/hub/api/services/strong", 404),
        ("GET", "/hub/api/services", 403),
        ("GET", "/hub/api/groups", 403),
        ("POST", "/hub/api/users/new", 403),
        ("POST", "/hub/api/users/ada/tokens", 403),
        ("GET", "/user/ada/api/status", 404),
    ] {
        assert_eq!(w.json(method, path, &made, Value::Null).await.0, want, "{method} {path}");
    }
    let strong = "token the-strong-one-s-token";
    assert_eq!(w.json("POST", "/hub/api/users/new", strong, json!({"admin": true})).await.0, 201);
    let (status, token) = w.json("POST", "/hub/api/users/ada/tokens", strong, Value::Null).await;
    assert_eq!((status, token["note"].as_str()), (201, Some("Requested via api by service strong")));
    let (_, whose) =
        w.json("GET", &format!("/hub/api/authorizations/token/{SECRET}"), strong, Value::Null).await;
    assert_eq!((&whose["kind"], &whose["name"]), (&json!("service"), &json!("made")));
    assert_eq!(
        w.ask("GET", "/hub/home", &[("authorization", strong)], "").await.status,
        302,
        "a token opens no page"
    );
}

#[tokio::test]
async fn configured_services_are_left_alone_by_the_api() {
    let w = World::new().await;
    let root = w.token("root", &["inherit"]).await;
    let spec = crate::services::spec::Spec { name: "kept".into(), display: true, ..Default::default() };
    let new = spec.check(crate::services::spec::Places { hosts: None, own_port: 1 }).unwrap();
    let now = w.app.clock.now();
    w.app.store.call(move |s| s.set_configured_services(&[new], now)).await.unwrap();
    assert_eq!(w.json("DELETE", "/hub/api/services/kept", &root, Value::Null).await.0, 405);
    assert_eq!(w.json("POST", "/hub/api/services/kept", &root, json!({"admin": true})).await.0, 409);
    let kept = ServiceName::parse("kept").unwrap();
    assert!(w.app.store.call(move |s| s.service(&kept)).await.unwrap().is_some());
}

#[tokio::test]
async fn pages_of_a_service_come_from_it_and_are_shown_to_who_may_use_it() {
    let w = World::with(CONFIG).await;
    let root = w.token("root", &["inherit"]).await;
    let said = "HTTP/1.1 418 Short\r\nContent-Type: text/plain\r\nSet-Cookie: own=1; Path=/services/made/\r\n\
                Set-Cookie: jupyterhub-hub-login=x; Path=/hub/\r\nClear-Site-Data: \"*\"\r\n";
    for (name, url, display) in
        [("made", Some(echo(said)), true), ("hidden", Some(echo(said)), false), ("bare", None, true)]
    {
        let mut spec = json!({"display": display});
        if let Some(url) = url {
            spec["url"] = json!(url);
        }
        assert_eq!(w.json("POST", &format!("/hub/api/services/{name}"), &root, spec).await.0, 201);
    }
    let headers = [
        ("connection", "keep-alive, x-odd"),
        ("x-odd", "1"),
        ("cookie", "a=b"),
        ("authorization", "token t"),
    ];
    let r = w.ask("POST", "/services/made/x%20y?q=1&r", &headers, "").await;
    assert_eq!((r.status, r.header("content-type")), (418, "text/plain"), "{}", r.text);
    let text = r.text.to_lowercase();
    assert!(text.starts_with("post /services/made/x%20y?q=1&r http/1.1\r\n"), "{text}");
    for want in [
        "host: here:8000\r\n",
        "cookie: a=b\r\n",
        "authorization: token t\r\n",
        "x-forwarded-host: here:8000\r\n",
        "x-forwarded-port: 8000\r\n",
        "x-forwarded-proto: http\r\n",
    ] {
        assert!(text.contains(want), "{want:?} in {text}");
    }
    assert!(!text.contains("x-odd"), "{text}");
    let cookies: Vec<_> = r.headers.get_all("set-cookie").iter().map(|v| v.to_str().unwrap()).collect();
    assert!(
        cookies == ["own=1; Path=/services/made/"] && r.header("clear-site-data").is_empty(),
        "{cookies:?}"
    );
    assert_eq!(w.ask("GET", "/services/made?x=1", &[], "").await.header("location"), "/services/made/?x=1");
    assert_eq!(w.ask("GET", "/services/hidden/", &[], "").await.status, 418, "hidden is not closed");
    for missing in ["/services/bare/", "/services/none/", "/services/%2e%2e/", "/services//x"] {
        assert_eq!(w.ask("GET", missing, &[], "").await.status, 404, "{missing}");
    }
    let big = [("content-length", "99999999999")];
    assert_eq!(w.ask("POST", "/services/made/", &big, "").await.status, 413);
    for (user, want) in [("ada", vec!["made"]), ("root", vec!["made"])] {
        let (cookie, _) = w.login(user).await;
        let home = w.ask("GET", "/hub/home", &[("cookie", &cookie)], "").await.text;
        let shown: Vec<_> = ["made", "hidden", "bare"]
            .into_iter()
            .filter(|n| home.contains(&format!("/services/{n}/")))
            .collect();
        assert_eq!(shown, want, "{user}");
    }
    let routes = w.json("GET", "/hub/api/proxy", &root, Value::Null).await.1;
    assert_eq!(routes["/services/made/"]["data"]["service"], "made");
}

#[tokio::test]
async fn a_service_that_is_gone_is_said_to_be() {
    let w = World::new().await;
    let root = w.token("root", &["inherit"]).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    w.json("POST", "/hub/api/services/gone", &root, json!({"url": format!("http://{free}")})).await;
    let r = w.ask("GET", "/services/gone/", &[], "").await;
    assert!(r.status == 503 && r.text.contains("service gone does not answer"), "{}", r.text);
    assert!(!r.text.contains(&free.port().to_string()));
}
