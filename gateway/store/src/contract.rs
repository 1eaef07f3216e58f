//! What every back end of the store must do, as tests.

mod oauth;
mod shares;

use crate::{Error, NewLogin, NewToken, Server, Store, TokenOwner, User};
use carrel_hub::{GroupName, Secret, ServerName, UserName};
use serde_json::{Map, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const T0: OffsetDateTime = datetime!(2026-01-01 12:00:00.123456 UTC);

fn name(n: &str) -> UserName {
    UserName::parse(n).unwrap()
}

fn with_users(names: &[&str]) -> (Store, Vec<User>) {
    let mut s = Store::in_memory().unwrap();
    let names: Vec<UserName> = names.iter().map(|n| name(n)).collect();
    let users = s.add_users(&names, false, T0).unwrap();
    (s, users)
}

fn new_token(user: &User, secret: &Secret) -> NewToken {
    NewToken {
        owner: TokenOwner::User(user.id),
        hash: secret.hash(),
        prefix: secret.prefix(),
        scopes: vec!["read:users!user".into(), "self".into()],
        note: "n".into(),
        created: T0,
        expires: Some(T0 + Duration::hours(1)),
        session_id: None,
        client: "c".into(),
        client_id: None,
    }
}

#[test]
fn users_are_added_once_found_changed_and_deleted() {
    let (mut s, users) = with_users(&["ada", "bob"]);
    assert_eq!(users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["ada", "bob"]);
    assert_eq!(s.add_users(&[name("ada"), name("cleo")], true, T0).unwrap().len(), 1);
    assert_eq!(s.count_users().unwrap(), 3);
    let ada = s.user(&name("ada")).unwrap().unwrap();
    assert_eq!((ada.admin, ada.created, ada.last_activity), (false, T0, None));
    assert!(s.change_user(ada.id, Some(&name("bob")), None).unwrap_err().is_conflict());
    s.change_user(ada.id, Some(&name("ada2")), Some(true)).unwrap();
    let renamed = s.user_by_id(ada.id).unwrap().unwrap();
    assert_eq!((renamed.name.as_str(), renamed.admin, renamed.folder.as_str()), ("ada2", true, "ada"));
    assert!(s.delete_user(ada.id).unwrap() && !s.delete_user(ada.id).unwrap());
}

#[test]
fn a_renamed_user_keeps_the_home_and_a_new_one_gets_another() {
    let (mut s, users) = with_users(&["ada"]);
    s.change_user(users[0].id, Some(&name("grace")), None).unwrap();
    let new = s.add_users(&[name("ada")], false, T0).unwrap().remove(0);
    assert_eq!(new.folder, "ada--2");
}

#[test]
fn activity_moves_forward_only() {
    let (mut s, users) = with_users(&["ada"]);
    let id = users[0].id;
    for (at, want) in
        [(T0, T0), (T0 - Duration::hours(1), T0), (T0 + Duration::SECOND, T0 + Duration::SECOND)]
    {
        s.touch_user(id, at).unwrap();
        assert_eq!(s.user_by_id(id).unwrap().unwrap().last_activity, Some(want));
    }
}

#[test]
fn tokens_are_found_by_digest_until_they_end() {
    let (mut s, users) = with_users(&["ada", "bob"]);
    let secret = Secret::from_random([1; 32]);
    let token = s.add_token(&new_token(&users[0], &secret)).unwrap();
    assert_eq!(s.token_by_hash(&secret.hash(), T0).unwrap(), Some(token.clone()));
    assert_eq!(s.token_by_id(token.id, T0).unwrap(), Some(token.clone()));
    assert_eq!(token.scopes, ["read:users!user", "self"]);
    assert_eq!(s.token_by_hash(&Secret::from_random([2; 32]).hash(), T0).unwrap(), None);
    let end = T0 + Duration::hours(1);
    assert!(s.token_by_hash(&secret.hash(), end).unwrap().is_none());
    assert!(s.token_by_id(token.id, end).unwrap().is_none());
    assert!(s.tokens_of(users[0].id, end).unwrap().is_empty());
    assert!(s.token_of(users[1].id, token.id, T0).unwrap().is_none(), "another user's token");
    assert!(!s.delete_token(users[1].id, token.id).unwrap());
    s.touch_token(token.id, T0).unwrap();
    assert_eq!(s.token_of(users[0].id, token.id, T0).unwrap().unwrap().last_activity, Some(T0));
    assert_eq!(s.delete_expired(end).unwrap(), 1);
    s.add_token(&new_token(&users[0], &secret)).unwrap();
    s.delete_user(users[0].id).unwrap();
    assert!(s.token_by_hash(&secret.hash(), T0).unwrap().is_none(), "a deleted user's token");
}

#[test]
fn a_new_password_and_a_logout_end_logins() {
    let (mut s, users) = with_users(&["ada"]);
    let id = users[0].id;
    let secret = Secret::from_random([3; 32]);
    let new = NewLogin {
        user_id: id,
        hash: secret.hash(),
        session_id: "s".into(),
        created: T0,
        expires: T0 + Duration::DAY,
    };
    let login = s.add_login(&new).unwrap();
    let mut bound = new_token(&users[0], &Secret::from_random([4; 32]));
    bound.session_id = Some("s".into());
    s.add_token(&bound).unwrap();
    assert_eq!(s.login_by_hash(&secret.hash(), T0).unwrap(), Some(login.clone()));
    assert_eq!(s.login_by_id(login.id, T0 + Duration::DAY).unwrap(), None);
    s.delete_login(login.id).unwrap();
    assert!(s.login_by_hash(&secret.hash(), T0).unwrap().is_none());
    assert!(s.tokens_of(id, T0).unwrap().is_empty(), "tokens of the session are revoked");
    s.add_login(&new).unwrap();
    s.set_password_hash(id, "h", T0).unwrap();
    assert_eq!(s.password_hash(id).unwrap().as_deref(), Some("h"));
    assert!(s.login_by_hash(&secret.hash(), T0).unwrap().is_none());
}

#[test]
fn groups_have_members_and_properties() {
    let (mut s, users) = with_users(&["bob", "ada"]);
    let ids: Vec<i64> = users.iter().map(|u| u.id).collect();
    let g = GroupName::parse("g").unwrap();
    assert_eq!(s.add_groups(std::slice::from_ref(&g), &ids).unwrap()[0].users, ["ada", "bob"]);
    assert!(s.add_groups(std::slice::from_ref(&g), &[]).unwrap().is_empty());
    let group = s.group(&g).unwrap().unwrap();
    s.remove_members(group.id, &ids[..1]).unwrap();
    s.add_members(group.id, &ids[1..]).unwrap();
    let properties: Map<_, _> = json!({"a": [1]}).as_object().unwrap().clone();
    s.set_group_properties(group.id, &properties).unwrap();
    let group = s.groups().unwrap().remove(0);
    assert_eq!((group.users.as_slice(), &group.properties), (["ada".to_owned()].as_slice(), &properties));
    assert_eq!(s.groups_of(ids[1]).unwrap(), ["g"]);
    assert_eq!(s.groups_of_folder("ada").unwrap(), ["g"]);
    assert!(s.groups_of_folder("bob").unwrap().is_empty());
    assert_eq!(s.members_of(&["g".to_owned(), "none".to_owned()].into()).unwrap()["g"].len(), 1);
    assert_eq!(s.user_ids(&[name("ada"), name("zoe")]).unwrap(), Err(name("zoe")));
    assert!(s.delete_group(group.id).unwrap());
}

#[test]
fn servers_are_written_renamed_and_forgotten() {
    let (mut s, users) = with_users(&["ada"]);
    let id = users[0].id;
    let (red, blue) = (ServerName::parse("red").unwrap(), ServerName::parse("blue").unwrap());
    let row = |n: &ServerName| Server {
        user_id: id,
        name: n.clone(),
        display_name: Some("R".into()),
        options: json!({"n": 2}).as_object().unwrap().clone(),
        created: T0,
        started: Some(T0),
        last_activity: Some(T0),
    };
    s.put_server(&row(&red)).unwrap();
    assert_eq!(s.server(id, &red).unwrap(), Some(row(&red)));
    s.put_server(&Server { started: None, last_activity: None, ..row(&red) }).unwrap();
    let kept = s.server(id, &red).unwrap().unwrap();
    assert_eq!((kept.started, kept.last_activity), (None, Some(T0)));
    s.put_server(&row(&blue)).unwrap();
    assert!(s.rename_server(id, &red, &blue).unwrap_err().is_conflict());
    assert!(s.delete_server(id, &blue).unwrap());
    s.rename_server(id, &red, &blue).unwrap();
    assert_eq!(s.servers_of(id).unwrap().len(), 1);
    s.touch_server(id, &blue, T0 + Duration::SECOND).unwrap();
    assert_eq!(s.servers().unwrap()[0].last_activity, Some(T0 + Duration::SECOND));
}

#[test]
fn settings_follow_a_renamed_user_and_go_with_a_deleted_one() {
    let (mut s, users) = with_users(&["ada"]);
    s.kv_put(&name("ada"), "workspace", "default", "{}", T0).unwrap();
    s.kv_put(&name("ada"), "workspace", "default", "{1}", T0).unwrap();
    s.change_user(users[0].id, Some(&name("grace")), None).unwrap();
    assert_eq!(s.kv_get(&name("grace"), "workspace", "default").unwrap().unwrap().value, "{1}");
    assert_eq!(s.kv_list(&name("grace"), "workspace").unwrap().len(), 1);
    assert!(s.kv_put(&name("nobody"), "k", "k", "v", T0).unwrap_err().is_conflict());
    s.delete_user(users[0].id).unwrap();
    assert!(s.kv_list(&name("grace"), "workspace").unwrap().is_empty());
    assert!(!s.kv_delete(&name("grace"), "workspace", "default").unwrap());
}

#[test]
fn a_database_is_opened_again_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carrel.db");
    Store::open(&path).unwrap().add_users(&[name("ada")], true, T0).unwrap();
    let again = Store::open(&path).unwrap();
    assert_eq!(again.count_users().unwrap(), 1);
    again.check().unwrap();
    again.read("test", |db| db.pragma_update(None, "user_version", 999)).unwrap();
    drop(again);
    assert!(matches!(Store::open(&path), Err(Error::TooNew { found: 999, .. })));
}

#[test]
fn a_damaged_file_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carrel.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Damaged(_))), "{:?}", Store::open(&path));
    assert!(matches!(Store::open(folder.path()), Err(Error::Open { .. })));
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let (mut s, _) = with_users(&["ada"]);
    // SQLite reports a reached page limit exactly as it reports a full disk
    let pages: i64 = s.read("test", |db| db.query_row("PRAGMA page_count", [], |r| r.get(0))).unwrap();
    s.read("test", |db| db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))).unwrap();
    let big = "x".repeat(1 << 20);
    assert!(matches!(s.kv_put(&name("ada"), "k", "k", &big, T0), Err(Error::Full { .. })));
    assert_eq!(s.count_users().unwrap(), 1);
    s.kv_put(&name("ada"), "k", "k", "small", T0).unwrap();
}

#[test]
fn a_read_only_database_is_named() {
    let (mut s, _) = with_users(&["ada"]);
    s.read("test", |db| db.pragma_update(None, "query_only", true)).unwrap();
    assert!(matches!(s.add_users(&[name("bob")], false, T0), Err(Error::ReadOnly { .. })));
    assert_eq!(s.count_users().unwrap(), 1);
}
