//! The permission table of what lies below a user's server. All of it stands behind one door, so the table has one line per kind of caller;
//! the routes themselves are read from the router's source, so that a new one is in the test the moment it is written.

use super::World;

const SOURCE: &str = include_str!("../../server/mod.rs");

/// Every path given to `.route(`, with something in place of its parameters.
fn paths() -> Vec<String> {
    let after = SOURCE.split(".route(").skip(1);
    let literal = after.map(|text| text.split('"').nth(1).unwrap().to_owned());
    let inner = literal.filter(|path| !path.starts_with("/hub/"));
    inner
        .map(|path| {
            path.split('/')
                .map(|part| if part.starts_with('{') { "x" } else { part })
                .collect::<Vec<_>>()
                .join("/")
        })
        .collect()
}

#[tokio::test]
async fn no_route_of_a_server_answers_who_may_not_enter() {
    let w = World::new().await;
    w.start("bob").await;
    let neighbour = w.token("ada", &["inherit"]).await;
    let weak = w.token("bob", &["read:users:name!user=bob"]).await;
    let elsewhere = w.token("root", &["access:servers!user=ada"]).await;
    let paths = paths();
    assert!(paths.len() > 60 && paths.contains(&"/api/kernels/x/channels".to_owned()), "{paths:?}");
    let mut wrong = Vec::new();
    for path in &paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let url = format!("/user/bob{path}");
            let open = method == "GET" && matches!(path.as_str(), "/api" | "/api/");
            for (who, token) in [
                ("nobody", None),
                ("neighbour", Some(&neighbour)),
                ("weak", Some(&weak)),
                ("elsewhere", Some(&elsewhere)),
            ] {
                let headers: Vec<(&str, &str)> =
                    token.map(|t| ("authorization", t.as_str())).into_iter().collect();
                let status = w.ask(method, &url, &headers, "{}").await.status;
                let fine = match who {
                    // its address with a slash is not in this test's stand-in for the server
                    _ if open => matches!(status, 200 | 404),
                    // a person is led to the login page, a program is refused
                    "nobody" => matches!(status, 302 | 403),
                    _ => matches!(status, 403 | 404),
                };
                if !fine {
                    wrong.push(format!("{method} {url} as {who}: {status}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
