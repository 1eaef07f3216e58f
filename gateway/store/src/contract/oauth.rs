//! Services, OAuth clients, codes and what is issued for them.

use super::*;
use crate::{AuthCode, ClientOf, CodeState, NewClient, NewService, ServiceClient, StandsFor, Token};
use carrel_hub::oauth::{Challenge, RedirectUri};
use carrel_hub::{SecretHash, ServiceName};

fn secret(n: u8) -> Secret {
    Secret::from_random([n; 32])
}

fn uri(text: &str) -> RedirectUri {
    RedirectUri::parse(text).unwrap()
}

fn of_server(user: &User, id: &str) -> NewClient {
    NewClient {
        id: id.into(),
        hash: secret(50).hash(),
        redirect_uri: uri("/user/ada/oauth_callback"),
        description: "Server at /user/ada/".into(),
        scopes: vec![],
        no_confirm: false,
        of: ClientOf::Server { user_id: user.id, server: ServerName::default_server() },
    }
}

fn service(name: &str, token: u8) -> NewService {
    NewService {
        name: ServiceName::parse(name).unwrap(),
        admin: false,
        url: Some("http://127.0.0.1:9".into()),
        display: true,
        info: json!({"a": 1}).as_object().unwrap().clone(),
        token: Some((secret(token).hash(), "abcd".into())),
        client: Some(ServiceClient {
            id: format!("service-{name}"),
            redirect_uri: uri("http://127.0.0.1:9/cb"),
            scopes: vec!["read:users!user".into()],
            no_confirm: true,
        }),
    }
}

fn code(n: u8, user: &User, client: &str) -> AuthCode {
    AuthCode {
        hash: secret(n).hash(),
        client_id: client.into(),
        user_id: user.id,
        session_id: "s".into(),
        scopes: vec!["read:users:name!user".into()],
        challenge: Challenge::parse(Some(&"a".repeat(43)), Some("S256")).unwrap(),
        named_address: true,
        expires: T0 + Duration::minutes(2),
        token_ends: T0 + Duration::hours(3),
    }
}

fn redeem(s: &mut Store, code: &AuthCode, n: u8) -> Option<Token> {
    s.redeem_code(code, (secret(n).hash(), "abcd".into()), "Server at /user/ada/", T0).unwrap()
}

fn known(s: &Store, hash: &SecretHash) -> bool {
    s.token_by_hash(hash, T0).unwrap().is_some()
}

#[test]
fn clients_are_registered_replaced_and_removed_with_what_was_issued() {
    let (mut s, users) = with_users(&["ada", "bob"]);
    let new = of_server(&users[0], "jupyterhub-user-ada");
    s.put_client(&new).unwrap();
    let kept = s.client("jupyterhub-user-ada").unwrap().unwrap();
    assert_eq!((kept.redirect_uri, kept.hash), (new.redirect_uri.clone(), new.hash));
    let stands_for =
        StandsFor::Server { user_id: users[0].id, user: name("ada"), server: ServerName::default_server() };
    assert_eq!(kept.stands_for, stands_for);
    let first = code(1, &users[1], "jupyterhub-user-ada");
    s.add_code(&first).unwrap();
    let token = redeem(&mut s, &first, 2).unwrap();
    assert_eq!(
        (token.client_id.as_deref(), token.session_id.as_deref()),
        (Some("jupyterhub-user-ada"), Some("s"))
    );
    s.put_client(&NewClient { hash: secret(51).hash(), ..new }).unwrap();
    assert_eq!(s.client("jupyterhub-user-ada").unwrap().unwrap().hash, secret(51).hash());
    assert!(known(&s, &secret(2).hash()), "a restarted server's people stay signed in");
    assert!(
        s.delete_client("jupyterhub-user-ada").unwrap() && !s.delete_client("jupyterhub-user-ada").unwrap()
    );
    assert!(!known(&s, &secret(2).hash()));
    s.put_client(&of_server(&users[0], "jupyterhub-user-ada")).unwrap();
    s.delete_user(users[0].id).unwrap();
    assert!(s.client("jupyterhub-user-ada").unwrap().is_none());
}

#[test]
fn a_code_is_exchanged_once_in_time_by_its_client() {
    let (mut s, users) = with_users(&["ada"]);
    let ada = &users[0];
    s.put_client(&of_server(ada, "one")).unwrap();
    s.put_client(&of_server(ada, "two")).unwrap();
    let first = code(1, ada, "one");
    s.add_code(&first).unwrap();
    let look = |s: &Store, client: &str, at| s.code(&secret(1).hash(), client, at).unwrap();
    assert_eq!(look(&s, "one", T0), CodeState::Fresh(first.clone()));
    assert_eq!(look(&s, "two", T0), CodeState::Unknown);
    assert_eq!(look(&s, "one", first.expires), CodeState::Unknown, "the last moment is over");
    let token = redeem(&mut s, &first, 2).unwrap();
    assert_eq!((token.expires, token.owner), (Some(first.token_ends), TokenOwner::User(ada.id)));
    assert_eq!(look(&s, "one", T0), CodeState::Used);
    assert_eq!(redeem(&mut s, &first, 3), None);
    assert!(known(&s, &secret(2).hash()) && !known(&s, &secret(3).hash()));
    s.revoke_code(&first.hash).unwrap();
    assert!(!known(&s, &secret(2).hash()));
    assert_eq!(look(&s, "one", T0), CodeState::Unknown);
    s.add_code(&code(4, ada, "one")).unwrap();
    assert_eq!(s.delete_expired(first.expires).unwrap(), 1);
}

#[test]
fn codes_and_tokens_of_one_login_are_bounded_and_a_new_address_ends_codes() {
    let (mut s, users) = with_users(&["ada"]);
    s.put_client(&of_server(&users[0], "one")).unwrap();
    for n in 0..100 {
        let new =
            AuthCode { expires: T0 + Duration::seconds(60 + i64::from(n)), ..code(n, &users[0], "one") };
        s.add_code(&new).unwrap();
        redeem(&mut s, &new, n + 100).unwrap();
    }
    let live = |s: &Store| {
        (0..100).filter(|n| s.code(&secret(*n).hash(), "one", T0).unwrap() != CodeState::Unknown).count()
    };
    assert_eq!(live(&s), 64);
    assert_eq!(s.tokens_of(users[0].id, T0).unwrap().len(), 64);
    assert!(known(&s, &secret(199).hash()) && !known(&s, &secret(100).hash()));
    s.put_client(&of_server(&users[0], "one")).unwrap();
    assert_eq!(live(&s), 64);
    s.put_client(&NewClient { redirect_uri: uri("/elsewhere"), ..of_server(&users[0], "one") }).unwrap();
    assert_eq!(live(&s), 0);
}

#[test]
fn the_end_of_a_login_ends_its_tokens_and_codes() {
    let (mut s, users) = with_users(&["ada"]);
    let ada = &users[0];
    s.put_client(&of_server(ada, "one")).unwrap();
    let login = NewLogin {
        user_id: ada.id,
        hash: secret(9).hash(),
        session_id: "s".into(),
        created: T0,
        expires: T0 + Duration::DAY,
    };
    for ends_by_password in [false, true] {
        let id = s.add_login(&login).unwrap().id;
        let (used, waiting) = (code(1, ada, "one"), code(2, ada, "one"));
        s.add_code(&used).unwrap();
        s.add_code(&waiting).unwrap();
        redeem(&mut s, &used, 3).unwrap();
        let own = s.add_token(&new_token(ada, &secret(4))).unwrap();
        match ends_by_password {
            true => s.set_password_hash(ada.id, "h", T0).unwrap(),
            false => s.delete_login(id).unwrap(),
        }
        assert!(!known(&s, &secret(3).hash()));
        assert!(known(&s, &secret(4).hash()), "a token of no login stays");
        assert_eq!(s.code(&waiting.hash, "one", T0).unwrap(), CodeState::Unknown);
        s.delete_token(ada.id, own.id).unwrap();
    }
}

#[test]
fn one_revoked_token_of_a_client_revokes_all_of_that_user() {
    let (mut s, users) = with_users(&["ada", "bob"]);
    s.put_client(&of_server(&users[0], "one")).unwrap();
    s.put_client(&of_server(&users[0], "two")).unwrap();
    let mut issue = |n: u8, user: &User, client: &str| {
        let new = code(n, user, client);
        s.add_code(&new).unwrap();
        redeem(&mut s, &new, n + 100).unwrap().id
    };
    let first = issue(1, &users[0], "one");
    issue(2, &users[0], "one");
    issue(3, &users[0], "two");
    issue(4, &users[1], "one");
    s.add_token(&new_token(&users[0], &secret(105))).unwrap();
    assert!(!s.delete_token(users[1].id, first).unwrap(), "another user's token");
    assert!(s.delete_token(users[0].id, first).unwrap());
    let left: Vec<u8> = (101..=105).filter(|n| known(&s, &secret(*n).hash())).collect();
    assert_eq!(left, [103, 104, 105]);
}

#[test]
fn services_have_a_token_and_a_client_and_keep_both_to_themselves() {
    let (mut s, users) = with_users(&["ada"]);
    let made = s.add_service(&service("a", 1), T0).unwrap().unwrap();
    assert_eq!((made.name.as_str(), made.configured, made.display), ("a", false, true));
    assert_eq!(s.service(&made.name).unwrap(), Some(made.clone()));
    let token = s.token_by_hash(&secret(1).hash(), T0).unwrap().unwrap();
    assert_eq!(
        (token.owner, token.scopes.as_slice()),
        (TokenOwner::Service(made.id), &["inherit".to_owned()][..])
    );
    let client = s.client("service-a").unwrap().unwrap();
    assert_eq!((client.stands_for, client.no_confirm), (StandsFor::Service(made.name.clone()), true));
    assert!(s.add_service(&service("a", 2), T0).unwrap_err().is_conflict(), "its name is taken");
    assert!(s.add_service(&service("b", 1), T0).unwrap_err().is_conflict(), "its token is taken");
    let mut thief = service("c", 3);
    thief.client.as_mut().unwrap().id = "service-a".into();
    assert!(s.add_service(&thief, T0).unwrap_err().is_conflict(), "its client is taken");
    assert_eq!(s.services().unwrap().len(), 1);
    let given = code(5, &users[0], "service-a");
    s.add_code(&given).unwrap();
    redeem(&mut s, &given, 6).unwrap();
    assert!(s.delete_service(made.id).unwrap());
    assert!(
        s.client("service-a").unwrap().is_none()
            && !known(&s, &secret(1).hash())
            && !known(&s, &secret(6).hash())
    );
}

#[test]
fn configured_services_are_what_the_configuration_says() {
    let (mut s, users) = with_users(&["ada"]);
    let names = |s: &Store| {
        s.services().unwrap().iter().map(|s| (s.name.to_string(), s.configured)).collect::<Vec<_>>()
    };
    s.add_service(&service("made", 1), T0).unwrap();
    s.add_service(&service("both", 2), T0).unwrap();
    s.set_configured_services(&[service("both", 3), service("new", 4)], T0).unwrap();
    assert_eq!(names(&s), [("both".into(), true), ("made".into(), false), ("new".into(), true)]);
    assert!(!known(&s, &secret(2).hash()) && known(&s, &secret(3).hash()));
    let given = code(5, &users[0], "service-new");
    s.add_code(&given).unwrap();
    redeem(&mut s, &given, 6).unwrap();
    // the tokens are exchanged, and people stay signed in
    s.set_configured_services(&[service("both", 4), service("new", 3)], T0).unwrap();
    assert!(known(&s, &secret(6).hash()));
    let new = s.service(&ServiceName::parse("new").unwrap()).unwrap().unwrap();
    assert_eq!(s.token_by_hash(&secret(3).hash(), T0).unwrap().unwrap().owner, TokenOwner::Service(new.id));
    s.set_configured_services(&[], T0).unwrap();
    assert_eq!(names(&s), [("made".to_owned(), false)]);
    assert!(!known(&s, &secret(4).hash()) && !known(&s, &secret(6).hash()));
}

#[test]
fn a_database_of_the_first_shape_keeps_its_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carrel.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(include_str!("../../migrations/0001_first.sql")).unwrap();
    db.execute_batch(&format!(
        "PRAGMA user_version = 1;
         INSERT INTO users (name, folder, admin, created) VALUES ('ada', 'ada', 0, 0);
         INSERT INTO tokens (user_id, hash, prefix, scopes, note, created, client) VALUES (1, x'{0}', 'abcd', 'inherit', 'n', 0, 'c');
         INSERT INTO tokens (user_id, hash, prefix, scopes, note, created, client) VALUES (1, x'{1}', 'abcd', 'inherit', 'n', 0, 'c');
         DELETE FROM tokens WHERE id = 2;",
        secret(1).hash().as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>(),
        secret(2).hash().as_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>(),
    ))
    .unwrap();
    drop(db);
    let mut s = Store::open(&path).unwrap();
    let kept = s.token_by_hash(&secret(1).hash(), T0).unwrap().unwrap();
    assert_eq!((kept.id, kept.owner, kept.client_id), (1, TokenOwner::User(1), None));
    let ada = s.user(&name("ada")).unwrap().unwrap();
    assert_eq!(s.add_token(&new_token(&ada, &secret(3))).unwrap().id, 3, "no id is given twice");
    s.check().unwrap();
}
