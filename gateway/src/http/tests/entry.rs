//! Who comes in where: a user's address, named servers, form tokens, signing in and out.

use super::*;

#[tokio::test]
async fn the_door_opens_for_whoever_may_enter() {
    let w = World::new().await;
    let (ada, bob, root) = (
        w.token("ada", &["inherit"]).await,
        w.token("bob", &["inherit"]).await,
        w.token("root", &["inherit"]).await,
    );
    // stopped: pages lead to the Hub, programs are told
    assert_eq!(w.ask("GET", "/user/bob/lab", &[], "").await.header("location"), "/hub/user/bob/lab");
    let r = w.ask("GET", "/user/bob/api/status", &[("authorization", &bob)], "").await;
    assert_eq!(r.status, 424);
    assert!(r.text.contains("\"message\"") && r.text.contains("\"reason\""));
    assert_eq!(w.ask("GET", "/user/bob/api/status", &[("authorization", &ada)], "").await.status, 404);
    w.start("bob").await;
    let table = [
        ("/user/bob/api/status", None, 403),
        ("/user/bob/api/status", Some(&ada), 403),
        ("/user/bob/api/status", Some(&bob), 200),
        ("/user/BOB/api/status", Some(&bob), 200),
        ("/user/bob/api/status", Some(&root), 200),
        ("/user/bob/api", None, 200),
        ("/user/bob/api/none", Some(&bob), 404),
        ("/user/nobody/api/status", Some(&ada), 404),
        ("/user/nobody/api/status", Some(&root), 404),
        ("/user/a%2Fb/api/status", Some(&root), 404),
        ("/user/%ff/api/status", Some(&root), 400),
        ("/user/bob/lab", None, 302),
        ("/user/bob", Some(&bob), 302),
    ];
    for (path, token, want) in table {
        let headers: Vec<(&str, &str)> = token.map(|t| ("authorization", t.as_str())).into_iter().collect();
        assert_eq!(w.ask("GET", path, &headers, "").await.status, want, "{path} {token:?}");
    }
    assert_eq!(
        w.ask("GET", "/user/bob/lab", &[], "").await.header("location"),
        "/hub/enter?next=%2Fuser%2Fbob%2Flab"
    );
    let url = format!("/user/bob/api/status?token={}", bob.trim_start_matches("token "));
    assert_eq!(
        w.ask("GET", &url, &[], "").await.status,
        403,
        "a token in the address is only for websockets"
    );
    let ws = [("upgrade", "websocket"), ("connection", "upgrade")];
    assert_eq!(
        w.ask("GET", &url, &ws, "").await.status,
        403,
        "and there only for a browser's, which cannot send a header"
    );
    let browser = [ws[0], ws[1], ("sec-fetch-mode", "websocket")];
    assert_eq!(w.ask("GET", &url, &browser, "").await.status, 200);
}

#[tokio::test]
async fn named_servers_have_their_own_address() {
    let w = World::new().await;
    let bob = w.user("bob").await;
    w.app.servers.start(&bob, &ServerName::parse("gpu").unwrap(), Change::default()).await.unwrap();
    let token = w.token("bob", &["access:servers!server=bob/gpu"]).await;
    let headers = [("authorization", token.as_str())];
    assert_eq!(w.ask("GET", "/user/bob/gpu/api/status", &headers, "").await.text, "/user/bob/gpu/");
    w.start("bob").await;
    assert_eq!(w.ask("GET", "/user/bob/api/status", &headers, "").await.status, 403);
    let all = w.token("bob", &["inherit"]).await;
    assert_eq!(w.ask("GET", "/user/bob/api/status", &[("authorization", &all)], "").await.text, "/user/bob/");
}

#[tokio::test]
async fn a_cookie_writes_only_with_its_form_token() {
    let w = World::new().await;
    w.start("ada").await;
    let (_, login) = w.login("ada").await;
    let keys = &w.app.keys;
    let user_cookie = keys.user_cookie(login, &name("ada"));
    let good = keys.xsrf(Some(login), "/user/ada/");
    let hub = keys.xsrf(Some(login), HUB_PATH);
    let cookie =
        |xsrf: &str| format!("{}={user_cookie}; {XSRF}={xsrf}", cookies::user_cookie_name(&name("ada")));
    for (kept, sent, want) in [
        (good.as_str(), Some(good.as_str()), 201),
        (&good, None, 403),
        (&good, Some(hub.as_str()), 403),
        (&hub, Some(&hub), 403),
        ("forged.value", Some("forged.value"), 403),
    ] {
        let cookie = cookie(kept);
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(sent.map(|s| ("x-xsrftoken", s)));
        assert_eq!(
            w.ask("POST", "/user/ada/api/kernels", &headers, "").await.status,
            want,
            "{kept} {sent:?}"
        );
        let read = w.ask("GET", "/user/ada/api/status", &headers[..1], "").await;
        assert_eq!(read.status, 200);
    }
    let c = cookie(&good);
    for (origin, want) in [("http://here:8000", 200), ("https://evil.example", 403), ("null", 403)] {
        let headers = [("cookie", c.as_str()), ("upgrade", "websocket"), ("origin", origin)];
        assert_eq!(w.ask("GET", "/user/ada/api/status", &headers, "").await.status, want, "{origin}");
    }
    // ada's cookie under bob's name is nobody's
    w.start("bob").await;
    let stolen = format!("{}={user_cookie}", cookies::user_cookie_name(&name("bob")));
    assert_eq!(w.ask("GET", "/user/bob/api/status", &[("cookie", &stolen)], "").await.status, 403);
    w.app.store.call(move |s| s.delete_login(login)).await.unwrap();
    assert_eq!(w.ask("GET", "/user/ada/api/status", &[("cookie", &c)], "").await.status, 403, "logged out");
}

#[tokio::test]
async fn signing_in_and_out() {
    let w = World::new().await;
    let id = w.user("ada").await.id;
    let hash = accounts::hash("ada-pass-12").unwrap();
    let now = w.app.clock.now();
    w.app.store.call(move |s| s.set_password_hash(id, &hash, now)).await.unwrap();
    let page = w.ask("GET", "/hub/login?next=%2Fhub%2Ftoken", &[], "").await;
    let xsrf = page.cookie(XSRF, HUB_PATH).unwrap();
    assert!(page.text.contains(&xsrf) && page.text.contains("next=%2Fhub%2Ftoken"));
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    let jar = format!("{XSRF}={xsrf}");
    let form = |password: &str| format!("username=ada&password={password}&_xsrf={xsrf}");
    let wrong = w.ask("POST", "/hub/login", &[("cookie", &jar)], &form("nope")).await;
    assert!(
        wrong.status == 403
            && wrong.text.contains("Invalid user name or password")
            && wrong.cookie(LOGIN, HUB_PATH).is_none()
    );
    assert_eq!(
        w.ask("POST", "/hub/login", &[], &form("ada-pass-12")).await.status,
        403,
        "no cookie, no login"
    );
    let evil =
        w.ask("POST", "/hub/login?next=%2F%2Fevil.example", &[("cookie", &jar)], &form("ada-pass-12")).await;
    assert_eq!((evil.status, evil.header("location")), (302, "/hub/"));
    let done =
        w.ask("POST", "/hub/login?next=%2Fhub%2Ftoken", &[("cookie", &jar)], &form("ada-pass-12")).await;
    assert_eq!((done.status, done.header("location")), (302, "/hub/token"));
    let login = done.cookie(LOGIN, HUB_PATH).unwrap();
    assert!(
        done.cookie("jupyterhub-user-ada", "/user/ada/").is_some()
            && done.cookie("jupyterhub-session-id", "/").is_some()
    );
    assert_ne!(done.cookie(XSRF, HUB_PATH).unwrap(), xsrf);
    let jar = format!("{LOGIN}={login}");
    assert_eq!(w.ask("GET", "/hub/home", &[("cookie", &jar)], "").await.status, 200);
    w.ask("GET", "/hub/logout", &[("cookie", &jar)], "").await;
    assert_eq!(
        w.ask("GET", "/hub/home", &[("cookie", &jar)], "").await.header("location"),
        "/hub/login?next=%2Fhub%2Fhome"
    );
    for forged in ["forged", &"x".repeat(5000), "Yh2!|forged|sig"] {
        let jar = format!("{LOGIN}={forged}");
        assert_eq!(w.ask("GET", "/hub/home", &[("cookie", &jar)], "").await.status, 302);
    }
}
