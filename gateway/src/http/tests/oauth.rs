//! Signing in elsewhere: what the stock clients never try. The clock is made up.

use super::*;
use carrel_hub::oauth::RedirectUri;
use carrel_hub::{Role, ServiceName};
use carrel_store::{ClientOf, NewClient, NewService, ServiceClient};
use time::Duration;

const ROLES: &str = "[[role]]\nname = \"user\"\nscopes = [\"self\", \"access:services!service=grader\"]";
const AUTHORIZE: &str = "/hub/api/oauth2/authorize";
const TOKEN: &str = "/hub/api/oauth2/token";
const CALLBACK: &str = "http://127.0.0.1:9/cb";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Ada's browser: her cookies, and the form token of the page that she looks at.
struct Browser {
    jar: String,
    xsrf: String,
}

fn secret_of(service: &str) -> String {
    format!("secret-of-{service}-0123456789")
}

fn encode(text: &str) -> String {
    crate::pages::encode(text)
}

impl World {
    /// A world in which everybody may use the service `grader`, and nobody but administrators `other`.
    async fn with_services() -> Self {
        let w = Self::with(ROLES).await;
        for name in ["grader", "other"] {
            let secret = Secret::presented(&secret_of(name)).unwrap();
            let new = NewService {
                name: ServiceName::parse(name).unwrap(),
                admin: false,
                url: None,
                display: true,
                info: serde_json::Map::new(),
                token: Some((secret.hash(), secret.prefix())),
                client: Some(ServiceClient {
                    id: format!("service-{name}"),
                    redirect_uri: RedirectUri::parse(CALLBACK).unwrap(),
                    scopes: vec!["servers!user".into()],
                    no_confirm: false,
                }),
            };
            let now = w.app.clock.now();
            w.app.store.call(move |s| s.add_service(&new, now)).await.unwrap();
        }
        w
    }

    async fn browser(&self, user: &str) -> (Browser, i64) {
        let (cookie, login) = self.login(user).await;
        let xsrf = self.app.keys.xsrf(Some(login), HUB_PATH);
        (Browser { jar: format!("{cookie}; {XSRF}={xsrf}"), xsrf }, login)
    }

    fn question(client: &str, more: &str) -> String {
        let uri = encode(CALLBACK);
        format!(
            "{AUTHORIZE}?client_id=service-{client}&redirect_uri={uri}&response_type=code&state=a%26b{more}"
        )
    }

    async fn look(&self, b: &Browser, client: &str, more: &str) -> Answer {
        self.ask("GET", &Self::question(client, more), &[("cookie", &b.jar)], "").await
    }

    /// Says yes to what the page shows.
    async fn agree(&self, b: &Browser, client: &str, more: &str) -> Answer {
        let page = self.look(b, client, more).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let shown = page.text.split("name=\"scopes\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        self.post(b, client, more, &format!("_xsrf={}&answer=yes&scopes={}", b.xsrf, encode(shown))).await
    }

    async fn post(&self, b: &Browser, client: &str, more: &str, form: &str) -> Answer {
        self.ask("POST", &Self::question(client, more), &[("cookie", &b.jar), FORM], form).await
    }

    /// A code that ada gave to `grader`.
    async fn code(&self, b: &Browser, more: &str) -> String {
        let mut r = self.look(b, "grader", more).await;
        if r.status == 200 {
            r = self.agree(b, "grader", more).await;
        }
        assert_eq!(r.status, 302, "{}", r.text);
        assert_eq!(r.header("cache-control"), "no-store");
        let to = r.header("location").to_owned();
        assert!(to.starts_with(&format!("{CALLBACK}?code=")) && to.ends_with("&state=a%26b"), "{to}");
        to.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned()
    }

    async fn exchange(&self, client: &str, code: &str, more: &str) -> (u16, Value) {
        let (uri, secret) = (encode(CALLBACK), secret_of(client));
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={uri}&client_id=service-{client}&client_secret={secret}{more}"
        );
        let r = self.ask("POST", TOKEN, &[FORM], &form).await;
        assert_eq!((r.header("cache-control"), r.header("pragma")), ("no-store", "no-cache"));
        (r.status, serde_json::from_str(&r.text).unwrap())
    }

    async fn token_for(&self, b: &Browser) -> String {
        let (status, answer) = self.exchange("grader", &self.code(b, "").await, "").await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn whoami(&self, token: &str) -> (u16, Value) {
        let r = self.ask("GET", "/hub/api/user", &[("authorization", &format!("Bearer {token}"))], "").await;
        (r.status, serde_json::from_str(&r.text).unwrap())
    }
}

fn error(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn a_grant_says_who_it_is_opens_the_service_and_no_more_than_was_shown() {
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let page = w.look(&ada, "grader", "").await;
    assert!(
        page.text.contains("Sign in to JupyterHub service grader?")
            && page.text.contains("Start, stop and see servers")
    );
    assert!(page.header("content-security-policy").contains("form-action 'self' http://127.0.0.1:9;"));
    assert_eq!(page.header("cache-control"), "no-store");
    let (status, answer) = w.exchange("grader", &w.code(&ada, "").await, "").await;
    assert_eq!((status, answer["token_type"].as_str()), (200, Some("Bearer")));
    assert_eq!(answer["expires_in"], 86_400, "as long as the login");
    let scope = "read:users:name!user read:users:groups!user access:services!service=grader servers!user";
    assert_eq!(answer["scope"], scope);
    let token = answer["access_token"].as_str().unwrap();
    let (_, me) = w.whoami(token).await;
    let scopes: Vec<&str> = me["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(scopes.contains(&"access:services!service=grader") && scopes.contains(&"servers!user=ada"));
    assert!(me["name"] == "ada" && me["session_id"].is_string());
    assert!(!scopes.iter().any(|s| s.starts_with("tokens")), "{scopes:?}");
    // asked once; for other words she is asked again
    assert_eq!(
        w.look(&ada, "grader", "&scope=read%3Aservers%21user").await.status,
        200,
        "words are compared"
    );
    assert_eq!(w.look(&ada, "grader", "").await.status, 302);
    let root = w.token("root", &["inherit"]).await;
    let list = w.ask("GET", "/hub/api/users/ada/tokens", &[("authorization", &root)], "").await;
    assert!(list.text.contains("\"oauth_client\":\"JupyterHub service grader\""), "{}", list.text);
}

#[tokio::test]
async fn a_code_works_once_and_a_second_try_takes_its_token_away() {
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let code = w.code(&ada, "").await;
    let (_, answer) = w.exchange("grader", &code, "").await;
    let token = answer["access_token"].as_str().unwrap().to_owned();
    assert_eq!(w.whoami(&token).await.0, 200);
    assert_eq!(error(&w.exchange("grader", &code, "").await), (400, "invalid_grant"));
    assert_eq!(w.whoami(&token).await.0, 403);
    assert_eq!(error(&w.exchange("grader", &code, "").await), (400, "invalid_grant"));
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_another_client_after_its_time_or_without_its_proof() {
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let code = w.code(&ada, "").await;
    assert_eq!(error(&w.exchange("other", &code, "").await), (400, "invalid_grant"));
    assert_eq!(
        error(&w.exchange("grader", &code, "&code_verifier=x").await),
        (400, "invalid_grant"),
        "there was no challenge"
    );
    w.app.clock.advance(Duration::seconds(119));
    assert_eq!(w.exchange("grader", &code, "").await.0, 200);
    let late = w.code(&ada, "").await;
    w.app.clock.advance(Duration::seconds(120));
    assert_eq!(error(&w.exchange("grader", &late, "").await), (400, "invalid_grant"));
    // RFC 7636, appendix B
    let more = "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
    let code = w.code(&ada, more).await;
    for wrong in ["", "&code_verifier=", &format!("&code_verifier={}", "w".repeat(43))] {
        assert_eq!(error(&w.exchange("grader", &code, wrong).await), (400, "invalid_grant"), "{wrong}");
    }
    let right = "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(w.exchange("grader", &code, right).await.0, 200);
}

#[tokio::test]
async fn what_was_granted_ends_with_the_login() {
    let w = World::with_services().await;
    // signing out
    let (ada, _) = w.browser("ada").await;
    let (token, code) = (w.token_for(&ada).await, w.code(&ada, "").await);
    let (elsewhere, _) = w.browser("ada").await;
    let other = w.token_for(&elsewhere).await;
    w.ask("GET", "/hub/logout", &[("cookie", &ada.jar)], "").await;
    assert_eq!(w.whoami(&token).await.0, 403);
    assert_eq!(error(&w.exchange("grader", &code, "").await), (400, "invalid_grant"));
    assert_eq!(w.whoami(&other).await.0, 200, "another browser's login goes on");
    // the end of its days
    w.app.clock.advance(Duration::days(1));
    assert_eq!(w.whoami(&other).await.0, 403);
    // a new password
    let (ada, _) = w.browser("ada").await;
    let token = w.token_for(&ada).await;
    let (id, now) = (w.user("ada").await.id, w.app.clock.now());
    w.app.store.call(move |s| s.set_password_hash(id, "h", now)).await.unwrap();
    assert_eq!(w.whoami(&token).await.0, 403);
}

#[tokio::test]
async fn nobody_agrees_for_somebody_else() {
    let w = World::with_services().await;
    let ((ada, _), (bob, _)) = (w.browser("ada").await, w.browser("bob").await);
    let scopes =
        encode("read:users:name!user read:users:groups!user access:services!service=grader servers!user");
    let yes = |xsrf: &str| format!("_xsrf={xsrf}&answer=yes&scopes={scopes}");
    assert_eq!(
        w.post(&ada, "grader", "", &format!("answer=yes&scopes={scopes}")).await.status,
        403,
        "no form token"
    );
    assert_eq!(w.post(&ada, "grader", "", &yes(&bob.xsrf)).await.status, 403, "bob's form token");
    let nobody = w.app.keys.xsrf(None, HUB_PATH);
    assert_eq!(w.post(&ada, "grader", "", &yes(&nobody)).await.status, 403, "one from before she signed in");
    let token = w.token("ada", &["inherit"]).await;
    let url = World::question("grader", "");
    let r = w.ask("GET", &url, &[("authorization", &token)], "").await;
    assert!(
        r.header("location").starts_with("/hub/login?next=%2Fhub%2Fapi%2Foauth2%2Fauthorize"),
        "a token is no browser"
    );
    // what was not shown is not granted: it is shown first
    let less = format!("_xsrf={}&answer=yes&scopes={}", ada.xsrf, encode("read:users:name!user"));
    assert_eq!(w.post(&ada, "grader", "", &less).await.status, 200);
    let no = w.post(&ada, "grader", "", &format!("_xsrf={}&answer=no", ada.xsrf)).await;
    assert!(no.header("location").starts_with(&format!("{CALLBACK}?error=access_denied&error_description=")));
    assert!(no.header("location").ends_with("&state=a%26b"));
    assert_eq!(w.post(&ada, "grader", "", &yes(&ada.xsrf)).await.status, 302);
}

#[tokio::test]
async fn errors_go_to_the_client_only_when_its_address_is_known() {
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let shown = w.look(&ada, "other", "").await;
    assert!(
        shown.status == 403 && shown.text.contains("You do not have permission to access"),
        "{}",
        shown.text
    );
    let jar = [("cookie", ada.jar.as_str())];
    let uri = encode(CALLBACK);
    for (query, want) in [
        ("client_id=nobody&response_type=code".to_owned(), "here is no such OAuth client"),
        ("response_type=code".into(), "lient_id is missing"),
        (format!("client_id=service-grader&client_id=service-other&redirect_uri={uri}"), "is given twice"),
        (
            "client_id=service-grader&response_type=code&redirect_uri=http%3A%2F%2Fevil.example%2F".into(),
            "is not the one",
        ),
    ] {
        let r = w.ask("GET", &format!("{AUTHORIZE}?{query}"), &jar, "").await;
        assert!(
            r.status == 400 && r.text.contains(want) && r.header("location").is_empty(),
            "{query}: {}",
            r.text
        );
    }
    for (more, want) in [
        ("&scope=admin%3Ausers", "invalid_scope"),
        ("&scope=fly%3Amoon", "invalid_scope"),
        ("&code_challenge=x&code_challenge_method=plain", "invalid_request"),
        ("&response_type=code", "invalid_request"),
    ] {
        let r = w.look(&ada, "grader", more).await;
        assert_eq!(r.status, 302, "{more}");
        assert!(
            r.header("location").starts_with(&format!("{CALLBACK}?error={want}&")),
            "{}",
            r.header("location")
        );
        assert!(r.header("location").ends_with("&state=a%26b"));
    }
}

#[tokio::test]
async fn clients_show_their_secret_in_one_way() {
    use base64::Engine;
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let code = w.code(&ada, "").await;
    let basic = |text: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    let right = basic(&format!("service-grader:{}", secret_of("grader")));
    let wrong = basic("service-grader:something-else");
    let uri = encode(CALLBACK);
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={uri}");
    let secret = format!("&client_secret={}", secret_of("grader"));
    let named = format!("&client_id=service-grader{secret}");
    let (json, url) = (("content-type", "application/json"), format!("{TOKEN}?client_id=service-grader"));
    for (path, kind, header, more, want) in [
        (TOKEN, FORM, None, "", (401, "invalid_client")),
        (TOKEN, FORM, Some(wrong.as_str()), "", (401, "invalid_client")),
        (TOKEN, FORM, Some("Basic !!!"), "", (401, "invalid_client")),
        (TOKEN, FORM, Some(&right), secret.as_str(), (400, "invalid_request")),
        (TOKEN, FORM, Some(&right), "&client_id=service-other", (400, "invalid_request")),
        (TOKEN, FORM, Some(&right), "&grant_type=x", (400, "invalid_request")),
        (TOKEN, json, Some(&right), "", (400, "invalid_request")),
        (&url, FORM, Some(&right), "", (400, "invalid_request")),
        // the official client sends its API token along
        (TOKEN, FORM, Some("token secret-of-grader-0123456789"), &named, (200, "")),
    ] {
        let mut headers = vec![kind];
        headers.extend(header.map(|h| ("authorization", h)));
        let r = w.ask("POST", path, &headers, &format!("{form}{more}")).await;
        let answer: Value = serde_json::from_str(&r.text).unwrap();
        assert_eq!(error(&(r.status, answer)), want, "{path} {header:?} {more}");
        let asks = r.status == 401 && header.is_some();
        assert_eq!(r.header("www-authenticate").starts_with("Basic"), asks, "{header:?}");
    }
    let code = w.code(&ada, "").await;
    let form = format!("grant_type=authorization_code&code={code}&redirect_uri={uri}");
    assert_eq!(w.ask("POST", TOKEN, &[FORM, ("authorization", &right)], &form).await.status, 200);
    let refresh = format!("grant_type=refresh_token{named}");
    assert!(w.ask("POST", TOKEN, &[FORM], &refresh).await.text.contains("unsupported_grant_type"));
    assert_eq!(w.ask("POST", TOKEN, &[FORM], &"x=1&".repeat(5000)).await.status, 413);
    assert_eq!(w.ask("POST", TOKEN, &[FORM], &"x=1&".repeat(50)).await.status, 400);
}

#[tokio::test]
async fn nobody_is_asked_for_their_own_server_and_only_who_may_enter_is_for_anothers() {
    let w = World::new().await;
    let ada_id = w.user("ada").await.id;
    let secret = Secret::presented("the-server-s-own-token").unwrap();
    let client = NewClient {
        id: "jupyterhub-user-ada".into(),
        hash: secret.hash(),
        redirect_uri: RedirectUri::parse("/user/ada/oauth_callback").unwrap(),
        description: "Server at /user/ada/".into(),
        scopes: vec![],
        no_confirm: false,
        of: ClientOf::Server { user_id: ada_id, server: ServerName::default_server() },
    };
    w.app.store.call(move |s| s.put_client(&client)).await.unwrap();
    let url = format!(
        "{AUTHORIZE}?client_id=jupyterhub-user-ada&redirect_uri=%2Fuser%2Fada%2Foauth_callback&response_type=code&state=x"
    );
    let (ada, _) = w.browser("ada").await;
    let r = w.ask("GET", &url, &[("cookie", &ada.jar)], "").await;
    assert!(r.header("location").starts_with("/user/ada/oauth_callback?code="), "{} {}", r.status, r.text);
    let code = r.header("location").split(['=', '&']).nth(1).unwrap().to_owned();
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri=%2Fuser%2Fada%2Foauth_callback&client_id=jupyterhub-user-ada&client_secret=the-server-s-own-token"
    );
    let r = w.ask("POST", TOKEN, &[FORM], &form).await;
    let answer: Value = serde_json::from_str(&r.text).unwrap();
    let (_, me) = w.whoami(answer["access_token"].as_str().unwrap()).await;
    assert!(me["scopes"].to_string().contains("access:servers!server=ada/"), "{me}");
    let (bob, _) = w.browser("bob").await;
    assert_eq!(w.ask("GET", &url, &[("cookie", &bob.jar)], "").await.status, 403);
    let (root, _) = w.browser("root").await;
    let page = w.ask("GET", &url, &[("cookie", &root.jar)], "").await;
    assert!(page.status == 200 && page.text.contains("sent back to a page on this host."), "{}", page.text);
    assert_eq!(Role::of_server("ada", "").len(), 2);
}

#[tokio::test]
async fn one_revoked_token_takes_the_application_s_access_away() {
    let w = World::with_services().await;
    let (ada, _) = w.browser("ada").await;
    let (first, second) = (w.token_for(&ada).await, w.token_for(&ada).await);
    let own = w.token("ada", &["inherit"]).await;
    let (_, me) = w.whoami(&first).await;
    let path = format!("/hub/api/users/ada/tokens/{}", me["token_id"].as_str().unwrap());
    assert_eq!(w.ask("DELETE", &path, &[("authorization", &own)], "").await.status, 204);
    assert_eq!((w.whoami(&first).await.0, w.whoami(&second).await.0), (403, 403));
    assert_eq!(w.whoami(own.trim_start_matches("token ")).await.0, 200);
    assert_eq!(w.look(&ada, "grader", "").await.status, 200, "she is asked again");
}
