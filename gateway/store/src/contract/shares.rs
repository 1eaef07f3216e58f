//! Shares and share codes: what is given adds up, what is taken is gone, and both go with what they hang on.

use super::*;
use crate::{Accepted, CodeKey, Given, NewShareCode, Recipient, ShareWith, Shares};
use carrel_hub::Scope;

fn scopes(names: &[&str]) -> Vec<Scope> {
    names.iter().map(|n| Scope::parse(n).unwrap().of_server("ada", "doc").unwrap()).collect()
}

fn texts(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn doc() -> ServerName {
    ServerName::parse("doc").unwrap()
}

/// ada with the server `doc`; bob and cleo, who are in the group `g`.
fn world() -> (Store, Vec<User>, i64) {
    let (mut s, users) = with_users(&["ada", "bob", "cleo"]);
    let row = Server {
        user_id: users[0].id,
        name: doc(),
        display_name: None,
        options: Map::new(),
        created: T0,
        started: None,
        last_activity: None,
    };
    s.put_server(&row).unwrap();
    let groups = s.add_groups(&[GroupName::parse("g").unwrap()], &[users[1].id, users[2].id]).unwrap();
    (s, users, groups[0].id)
}

fn give(s: &mut Store, owner: i64, with: ShareWith, names: &[&str]) -> crate::Share {
    match s.give_share(owner, &doc(), with, &scopes(names), T0).unwrap() {
        Given::Share(share) => share,
        Given::TooMany => panic!("too many"),
    }
}

fn code(s: &mut Store, owner: i64, n: u8) -> Option<crate::ShareCode> {
    let hash = Secret::from_random([n; 32]).hash();
    let (created, expires) = (T0, T0 + Duration::hours(1));
    let scopes = scopes(&["access:servers"]);
    s.add_share_code(&NewShareCode { owner_id: owner, server: doc(), hash, scopes, created, expires })
        .unwrap()
}

#[test]
fn what_is_given_adds_up_and_what_is_taken_is_gone() {
    let (mut s, users, group) = world();
    let (ada, bob, cleo) = (users[0].id, ShareWith::User(users[1].id), ShareWith::User(users[2].id));
    let first = give(&mut s, ada, bob, &["access:servers"]);
    assert_eq!((first.with.clone(), first.created), (Recipient::User(name("bob")), T0));
    assert_eq!(texts(&first.scopes), ["access:servers!server=ada/doc"]);
    let more = give(&mut s, ada, bob, &["read:servers", "access:servers"]);
    assert_eq!(more.id, first.id);
    let both = ["access:servers!server=ada/doc", "read:servers!server=ada/doc"];
    assert_eq!(texts(&more.scopes), both);
    give(&mut s, ada, ShareWith::Group(group), &["start:servers"]);
    let listed = |s: &Store, which: &Shares| s.shares(which, 0, 10).unwrap().total;
    for (which, want) in [
        (Shares::OfOwner(ada), 2),
        (Shares::OfServer(ada, doc()), 2),
        (Shares::OfServer(ada, ServerName::default_server()), 0),
        (Shares::WithUser(users[1].id), 2),
        (Shares::WithUser(users[2].id), 1),
        (Shares::WithGroup(group), 1),
        (Shares::OfOwner(users[1].id), 0),
    ] {
        assert_eq!(listed(&s, &which), want, "{which:?}");
    }
    let part = s.shares(&Shares::OfOwner(ada), 1, 1).unwrap();
    assert!(part.total == 2 && part.rows.len() == 1 && matches!(part.rows[0].with, Recipient::Group(_)));
    assert_eq!(texts(&s.scopes_shared_with(users[1].id, false).unwrap()), both);
    assert_eq!(s.scopes_shared_with(users[1].id, true).unwrap().len(), 3);
    assert_eq!(s.scopes_shared_with(users[2].id, false).unwrap(), []);
    // a part, the rest, and what was never given
    let left = s.take_share(ada, &doc(), bob, Some(&scopes(&["read:servers", "proxy"]))).unwrap().unwrap();
    assert_eq!(texts(&left.scopes), both[..1]);
    assert_eq!(s.take_share(ada, &doc(), bob, Some(&scopes(&["access:servers"]))).unwrap(), None);
    assert_eq!(s.take_share(ada, &doc(), cleo, None).unwrap(), None);
    assert_eq!(s.share(ada, &doc(), bob).unwrap(), None);
    assert_eq!(s.delete_shares(ada, &doc()).unwrap(), 1);
}

#[test]
fn shares_follow_a_renamed_server_and_go_with_what_they_hang_on() {
    let (mut s, users, group) = world();
    let (ada, bob) = (users[0].id, ShareWith::User(users[1].id));
    give(&mut s, ada, bob, &["access:servers"]);
    code(&mut s, ada, 1).unwrap();
    let renamed = ServerName::parse("paper").unwrap();
    s.rename_server(ada, &doc(), &renamed).unwrap();
    s.change_user(ada, Some(&name("ada2")), None).unwrap();
    let share = s.share(ada, &renamed, bob).unwrap().unwrap();
    assert_eq!(texts(&share.scopes), ["access:servers!server=ada2/paper"]);
    assert_eq!(s.share_codes(ada, Some(&renamed), (0, 10), T0).unwrap().total, 1);
    s.delete_server(ada, &renamed).unwrap();
    assert_eq!(s.shares(&Shares::WithUser(users[1].id), 0, 10).unwrap().total, 0);
    assert_eq!(s.share_codes(ada, None, (0, 10), T0).unwrap().total, 0);
    assert!(s.give_share(ada, &doc(), bob, &scopes(&["access:servers"]), T0).unwrap_err().is_conflict());

    let (mut s, users, group_2) = world();
    let ada = users[0].id;
    assert_eq!(group, group_2);
    give(&mut s, ada, ShareWith::User(users[1].id), &["access:servers"]);
    give(&mut s, ada, ShareWith::Group(group), &["access:servers"]);
    s.delete_user(users[1].id).unwrap();
    s.delete_group(group).unwrap();
    assert_eq!(s.shares(&Shares::OfOwner(ada), 0, 10).unwrap().total, 0);
    give(&mut s, ada, ShareWith::User(users[2].id), &["access:servers"]);
    s.delete_user(ada).unwrap();
    assert_eq!(s.scopes_shared_with(users[2].id, true).unwrap(), []);
}

#[test]
fn a_code_is_accepted_by_whoever_has_it_until_it_ends() {
    let (mut s, users, _) = world();
    let (ada, bob) = (users[0].id, users[1].id);
    let made = code(&mut s, ada, 1).unwrap();
    let hash = Secret::from_random([1; 32]).hash();
    let end = T0 + Duration::hours(1);
    assert_eq!(s.share_code(&hash, T0).unwrap(), Some(made.clone()));
    assert_eq!(s.share_code(&hash, end).unwrap(), None);
    assert_eq!(s.accept_share_code(&hash, ada, T0).unwrap(), Accepted::Own);
    assert_eq!(s.accept_share_code(&hash, bob, end).unwrap(), Accepted::Unknown);
    assert_eq!(
        s.accept_share_code(&Secret::from_random([2; 32]).hash(), bob, T0).unwrap(),
        Accepted::Unknown
    );
    for user in [bob, bob, users[2].id] {
        let given = s.accept_share_code(&hash, user, T0).unwrap();
        assert!(matches!(given, Accepted::Given(Given::Share(_))), "{given:?}");
    }
    let used = s.share_codes(ada, Some(&doc()), (0, 10), T0).unwrap().rows.remove(0);
    assert_eq!((used.id, used.exchanges, used.last_exchanged), (made.id, 3, Some(T0)));
    // taken back, it gives nothing more; what it gave stays
    assert!(!s.delete_share_code(bob, &doc(), CodeKey::Id(made.id)).unwrap(), "another's code");
    assert!(s.delete_share_code(ada, &doc(), CodeKey::Hash(hash)).unwrap());
    assert!(!s.delete_share_code(ada, &doc(), CodeKey::Id(made.id)).unwrap());
    assert_eq!(s.shares(&Shares::OfOwner(ada), 0, 10).unwrap().total, 2);
    code(&mut s, ada, 3).unwrap();
    assert_eq!(s.delete_expired(end).unwrap(), 1);
    code(&mut s, ada, 4).unwrap();
    assert_eq!(s.delete_share_codes(ada, &doc()).unwrap(), 1);
}

#[test]
fn there_are_bounds() {
    let (mut s, users, _) = world();
    let ada = users[0].id;
    for n in 0..100 {
        assert!(code(&mut s, ada, n).is_some());
    }
    assert_eq!(code(&mut s, ada, 100), None);
    let people: Vec<UserName> = (0..1000).map(|n| name(&format!("p{n}"))).collect();
    for user in s.add_users(&people, false, T0).unwrap() {
        give(&mut s, ada, ShareWith::User(user.id), &["access:servers"]);
    }
    let one_more = s.give_share(ada, &doc(), ShareWith::User(users[1].id), &scopes(&["access:servers"]), T0);
    assert_eq!(one_more.unwrap(), Given::TooMany);
}
