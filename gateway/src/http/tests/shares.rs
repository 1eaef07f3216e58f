//! Shares: who may give what to whom, that it opens the server, and that it closes it again, also for those who are in.

use super::*;
use crate::caller;
use crate::guests::Stay;
use carrel_hub::GroupName;
use serde_json::json;
use std::time::Duration;

const DOC: &str = "/hub/api/shares/ada/doc";
const CODES: &str = "/hub/api/share-codes/ada/doc";
const ACCESS: &str = "access:servers!server=ada/doc";
/// ada may share what is hers with bob and with group g.
const SHARER: &str = "[[role]]\nname = \"sharer\"\nscopes = [\"shares!user=ada\", \"read:users:name!user=bob\", \"read:groups:name!group=g\"]\n\
                      users = [\"ada\"]";

impl World {
    /// A world in which ada's server `doc` runs, and bob is in group g.
    async fn with_doc(config: &str) -> Self {
        let w = Self::with(config).await;
        let (ada, bob) = (w.user("ada").await, w.user("bob").await.id);
        w.app.servers.start(&ada, &ServerName::parse("doc").unwrap(), Change::default()).await.unwrap();
        let group = GroupName::parse("g").unwrap();
        w.app.store.call(move |s| s.add_groups(&[group], &[bob])).await.unwrap();
        w
    }

    async fn scopes(&self, header: (&str, &str)) -> Vec<String> {
        let headers = [header, ("sec-fetch-mode", "navigate")];
        let me: Value =
            serde_json::from_str(&self.ask("GET", "/hub/api/user", &headers, "").await.text).unwrap();
        me["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect()
    }

    async fn enters(&self, header: (&str, &str)) -> u16 {
        self.ask("GET", "/user/ada/doc/api/status", &[header], "").await.status
    }
}

fn holds(scopes: &[String]) -> bool {
    scopes.iter().any(|s| s == ACCESS)
}

#[tokio::test]
async fn a_share_opens_one_server_until_it_is_taken_back() {
    let w = World::with_doc("").await;
    w.start("ada").await;
    let (root, bob) = (w.token("root", &["inherit"]).await, w.token("bob", &["inherit"]).await);
    let bobs = ("authorization", bob.as_str());
    assert_eq!(w.enters(bobs).await, 403);
    let (status, share) = w.json("POST", DOC, &root, json!({"user": "BOB"})).await;
    let want = json!({
        "server": {"user": {"name": "ada"}, "name": "doc", "url": "/user/ada/doc/", "full_url": null, "ready": true},
        "scopes": [ACCESS], "user": {"name": "bob"}, "group": null, "kind": "user", "created_at": "2026-01-01T12:00:00.000000Z",
    });
    assert_eq!((status, &share), (200, &want));
    assert!(holds(&w.scopes(bobs).await));
    assert_eq!(w.enters(bobs).await, 200);
    assert_eq!(w.ask("GET", "/user/ada/api/status", &[bobs], "").await.status, 403, "another server of hers");
    for (path, method) in
        [("/hub/api/users/ada/servers/doc", "DELETE"), (DOC, "POST"), ("/hub/api/users/ada/tokens", "POST")]
    {
        let (status, _) = w.json(method, path, &bob, json!({})).await;
        assert!(matches!(status, 403 | 404), "{method} {path}: {status}");
    }
    let (_, list) = w.json("GET", "/hub/api/shares/ada?limit=1", &root, Value::Null).await;
    assert_eq!((&list["items"], &list["_pagination"]["total"]), (&json!([want]), &json!(1)));
    let mine = "/hub/api/users/bob/shared/ada/doc";
    assert_eq!(w.json("GET", mine, &bob, Value::Null).await, (200, want));
    let more = json!({"user": "bob", "scopes": ["stop:nothing"]});
    assert_eq!(w.json("POST", DOC, &root, more).await.0, 400);
    let more = json!({"user": "bob", "scopes": ["delete:servers"]});
    assert_eq!(w.json("POST", DOC, &root, more.clone()).await.1["scopes"].as_array().unwrap().len(), 2);
    assert_eq!(w.json("PATCH", DOC, &root, more).await.1["scopes"], json!([ACCESS]));
    // taken back by who gave it, given up by who has it, gone with all others
    for (method, path, by, body) in [
        ("PATCH", DOC, &root, json!({"user": "bob"})),
        ("DELETE", mine, &bob, Value::Null),
        ("DELETE", DOC, &root, Value::Null),
    ] {
        w.json("POST", DOC, &root, json!({"user": "bob"})).await;
        assert_eq!(w.enters(bobs).await, 200);
        let (status, answer) = w.json(method, path, by, body).await;
        assert!(matches!((status, answer), (200, Value::Object(left)) if left.is_empty()) || status == 204);
        assert_eq!(w.enters(bobs).await, 403, "{method} {path}");
    }
    assert_eq!(w.json("GET", mine, &bob, Value::Null).await.0, 404);
    assert_eq!(w.json("PATCH", DOC, &root, json!({"user": "nobody"})).await, (200, json!({})));
}

#[tokio::test]
async fn a_group_s_share_is_for_logins_and_what_is_issued_in_them() {
    let w = World::with_doc("").await;
    let root = w.token("root", &["inherit"]).await;
    let alone = w.token("bob", &["inherit"]).await;
    let (cookie, login) = w.login("bob").await;
    let xsrf = w.app.keys.xsrf(Some(login), HUB_PATH);
    let browser = format!("{cookie}; {XSRF}={xsrf}");
    let share = w.json("POST", DOC, &root, json!({"group": "g"})).await.1;
    assert_eq!((&share["group"], &share["kind"]), (&json!({"name": "g"}), &json!("group")));
    assert!(holds(&w.scopes(("cookie", &browser)).await));
    assert!(!holds(&w.scopes(("authorization", &alone)).await), "as JupyterHub has it");
    let (id, now) = (w.user("bob").await.id, w.app.clock.now());
    let session = w.app.store.call(move |s| s.login_by_id(login, now)).await.unwrap().unwrap().session_id;
    let secret = Secret::from_random(rand::random());
    let new = NewToken {
        owner: TokenOwner::User(id),
        hash: secret.hash(),
        prefix: secret.prefix(),
        scopes: vec![ACCESS.into()],
        note: String::new(),
        created: now,
        expires: None,
        session_id: Some(session),
        client: String::new(),
        client_id: None,
    };
    w.app.store.call(move |s| s.add_token(&new)).await.unwrap();
    let issued = format!("token {}", secret.reveal());
    assert_eq!(w.enters(("authorization", &issued)).await, 200);
    let (status, list) = w.json("GET", "/hub/api/groups/g/shared", &root, Value::Null).await;
    assert_eq!((status, &list["_pagination"]["total"]), (200, &json!(1)));
    assert_eq!(w.json("DELETE", "/hub/api/groups/g/users", &root, json!({"users": ["bob"]})).await.0, 200);
    assert_eq!(w.enters(("authorization", &issued)).await, 403, "no member any more");
    assert_eq!(w.json("DELETE", "/hub/api/groups/g/shared/ada/doc", &root, Value::Null).await.0, 204);
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_hold_or_to_whom_they_may_not_name() {
    let w = World::with_doc(SHARER).await;
    let ada = w.token("ada", &["inherit"]).await;
    for (body, want) in [
        (json!({"user": "bob"}), 200),
        (json!({"group": "g"}), 200),
        (json!({"user": "bob", "scopes": ["start:servers", "access:servers!server=ada/doc"]}), 200),
        (json!({"user": "root"}), 403),
        (json!({"group": "other"}), 403),
        (json!({"user": "bob", "scopes": ["admin:servers"]}), 403),
        (json!({"user": "bob", "scopes": ["access:servers!server=ada/"]}), 400),
        (json!({"user": "bob", "scopes": ["access:servers!user=ada"]}), 400),
        (json!({"user": "bob", "scopes": ["self"]}), 400),
        (json!({"user": "bob", "scopes": "access:servers"}), 400),
        (json!({"user": "bob", "scopes": vec!["access:servers"; 101]}), 400),
        (json!({"user": "bob", "group": "g"}), 400),
        (json!({"user": ""}), 400),
        (json!({"user": 3}), 400),
        (json!({"user": "bob", "expires_in": 60}), 400),
        (json!({}), 400),
    ] {
        let (status, answer) = w.json("POST", DOC, &ada, body.clone()).await;
        assert_eq!(status, want, "{body}: {answer}");
    }
    for (path, want) in
        [("/hub/api/shares/ada/none", 404), ("/hub/api/shares/bob/", 404), ("/hub/api/shares/ada/", 404)]
    {
        assert_eq!(w.json("POST", path, &ada, json!({"user": "bob"})).await.0, want, "{path}");
    }
    // a token that may do less than its owner
    let weak = w.token("ada", &["read:shares!user"]).await;
    assert_eq!(w.json("GET", DOC, &weak, Value::Null).await.0, 200);
    assert_eq!(w.json("POST", DOC, &weak, json!({"user": "bob"})).await.0, 403);
}

#[tokio::test]
async fn codes_have_a_life_and_are_told_once() {
    let w = World::with_doc(SHARER).await;
    let ada = w.token("ada", &["inherit"]).await;
    for (body, want) in [
        (json!({"expires_in": 59}), 400),
        (json!({"expires_in": 31_536_001}), 400),
        (json!({"expires_in": "1"}), 400),
        (json!({"expires_in": 1.5}), 400),
        (json!({"user": "bob"}), 400),
        (json!({"scopes": ["admin:users"]}), 403),
        (json!({"scopes": ["fly:moon"]}), 400),
        (json!({"expires_in": 60}), 200),
    ] {
        assert_eq!(w.json("POST", CODES, &ada, body.clone()).await.0, want, "{body}");
    }
    let (_, made) = w.json("POST", CODES, &ada, Value::Null).await;
    let code = made["code"].as_str().unwrap().to_owned();
    assert_eq!(made["accept_url"], format!("/hub/accept-share?code={code}"));
    assert_eq!(
        (&made["expires_at"], &made["exchange_count"], &made["last_exchanged_at"]),
        (&json!("2026-01-02T12:00:00.000000Z"), &json!(0), &Value::Null)
    );
    let (_, list) = w.json("GET", "/hub/api/share-codes/ada", &ada, Value::Null).await;
    assert!(list["_pagination"]["total"] == 2 && !list.to_string().contains(&code), "{list}");
    for (query, want) in [
        ("?id=zz".to_owned(), 404),
        ("?code=zz".to_owned(), 404),
        (format!("?id={}", made["id"].as_str().unwrap()), 204),
        (format!("?code={code}"), 404),
        (String::new(), 204),
    ] {
        let path = format!("{CODES}{query}");
        assert_eq!(w.json("DELETE", &path, &ada, Value::Null).await.0, want, "{path}");
    }
    let (_, list) = w.json("GET", CODES, &ada, Value::Null).await;
    assert_eq!(list["_pagination"]["total"], 0);
}

#[tokio::test]
async fn a_code_is_accepted_on_its_page() {
    let w = World::with_doc(SHARER).await;
    let ada = w.token("ada", &["inherit"]).await;
    let (_, made) = w.json("POST", CODES, &ada, Value::Null).await;
    let (code, url) = (made["code"].as_str().unwrap(), made["accept_url"].as_str().unwrap());
    let there = w.ask("GET", url, &[], "").await;
    assert_eq!(there.header("location"), format!("/hub/login?next={}", crate::pages::encode(url)));
    let jar = async |user: &str| {
        let (cookie, login) = w.login(user).await;
        let xsrf = w.app.keys.xsrf(Some(login), HUB_PATH);
        (format!("{cookie}; {XSRF}={xsrf}"), xsrf)
    };
    let ((bob, xsrf), (own, own_xsrf)) = (jar("bob").await, jar("ada").await);
    let page = w.ask("GET", url, &[("cookie", &bob)], "").await;
    assert_eq!(page.status, 200);
    for want in ["ada", "doc", "/user/ada/doc/", code, "Accept"] {
        assert!(page.text.contains(want), "{want} in {}", page.text);
    }
    assert!(!holds(&w.scopes(("cookie", &bob)).await), "looking accepts nothing");
    let post = async |jar: &str, form: String| {
        let r = w.ask("POST", "/hub/accept-share", &[("cookie", jar)], &form).await;
        (r.status, r.header("location").to_owned())
    };
    for (jar, form, want) in [
        (&bob, format!("code={code}"), 403),
        (&bob, format!("code={code}&_xsrf={own_xsrf}"), 403),
        (&bob, format!("code=nonsense&_xsrf={xsrf}"), 400),
        (&own, format!("code={code}&_xsrf={own_xsrf}"), 400),
    ] {
        assert_eq!(post(jar, form.clone()).await.0, want, "{form}");
    }
    assert_eq!(w.ask("GET", url, &[("cookie", &own)], "").await.status, 403);
    assert_eq!(w.ask("GET", "/hub/accept-share?code=nonsense", &[("cookie", &bob)], "").await.status, 404);
    assert!(!holds(&w.scopes(("cookie", &bob)).await));
    for (next, to) in [
        ("", "/user/ada/doc/"),
        ("%2Fuser%2Fada%2Fdoc%2Flab%2Ftree%2Fa.ipynb", "/user/ada/doc/lab/tree/a.ipynb"),
        ("%2F%2Fevil.example", "/user/ada/doc/"),
    ] {
        let done = post(&bob, format!("code={code}&_xsrf={xsrf}&next={next}")).await;
        assert_eq!(done, (302, to.to_owned()));
    }
    assert!(holds(&w.scopes(("cookie", &bob)).await));
    let home = w.ask("GET", "/hub/home", &[("cookie", &bob)], "").await.text;
    assert!(home.contains(r#"<a href="/user/ada/doc/">ada's server doc</a>"#), "{home}");
    assert!(!w.ask("GET", "/hub/home", &[("cookie", &own)], "").await.text.contains("Shared with you"));
    // a browser finds its way in, with the cookie that holds there
    let enter = w.ask("GET", "/hub/enter?next=%2Fuser%2Fada%2Fdoc%2Flab", &[("cookie", &bob)], "").await;
    let cookie = enter.cookie("jupyterhub-user-ada", "/user/ada/").unwrap();
    assert_eq!(w.enters(("cookie", &format!("jupyterhub-user-ada={cookie}"))).await, 200);
    let (_, list) = w.json("GET", CODES, &ada, Value::Null).await;
    assert_eq!(list["items"][0]["exchange_count"], 3);
    // stopped, it is for its owner to start
    w.app.servers.stop(&w.user("ada").await, &ServerName::parse("doc").unwrap()).await.ok();
    for (jar, want) in [(&own, true), (&bob, false)] {
        let page = w.ask("GET", "/hub/user/ada/doc/lab", &[("cookie", jar)], "").await;
        assert_eq!((page.status, page.text.contains("id=\"start\"")), (424, want), "{}", page.text);
    }
}

#[tokio::test]
async fn a_guest_who_is_in_must_leave_when_the_right_ends() {
    let w = World::with_doc("").await;
    let (ada, doc) = (w.user("ada").await, ServerName::parse("doc").unwrap());
    let root = w.token("root", &["inherit"]).await;
    let over = async |stay: &Stay, within: u64| {
        tokio::time::timeout(Duration::from_millis(within), stay.over()).await.is_ok()
    };
    let visit = async |user: &str| {
        let (_, login) = w.login(user).await;
        let now = w.app.clock.now();
        let login = w.app.store.call(move |s| s.login_by_id(login, now)).await.unwrap().unwrap();
        let caller = caller::of_login(&w.app, login.clone()).await.unwrap();
        (Stay::begin(&w.app, &caller, &ada, &doc), login.id)
    };
    let share = async || assert_eq!(w.json("POST", DOC, &root, json!({"user": "bob"})).await.0, 200);
    share().await;
    let ((guest, _), (owner, _)) = (visit("bob").await, visit("ada").await);
    assert!(!over(&guest, 300).await);
    w.json("PATCH", DOC, &root, json!({"user": "bob"})).await;
    assert!(over(&guest, 5000).await);
    assert!(!over(&owner, 100).await);
    // whoever never had the right, or lost it just now, does not stay until something changes
    assert!(over(&visit("bob").await.0, 5000).await);
    // so it is when the login ends
    share().await;
    let (guest, login) = visit("bob").await;
    assert!(!over(&guest, 300).await);
    w.app.store.call(move |s| s.delete_login(login)).await.unwrap();
    w.app.guests.look_again();
    assert!(over(&guest, 5000).await);
}
