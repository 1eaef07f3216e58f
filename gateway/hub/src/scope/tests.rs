//! Tables and properties of scope resolution.

use super::*;
use crate::role::Roles;
use proptest::prelude::*;

/// `g` holds ada and bob.
fn member(group: &str, user: &str) -> bool {
    group == "g" && matches!(user, "ada" | "bob")
}

fn parse(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|t| Scope::parse(t).unwrap()).collect()
}

fn set(texts: &[&str]) -> ScopeSet {
    ScopeSet::resolve(&parse(texts), Whose::of_user("ada"))
}

fn admin() -> ScopeSet {
    Roles::default().held_by_user("root", true, &[])
}

#[test]
fn words_are_read_or_refused() {
    for good in [
        "read:users",
        "read:users!user",
        "servers!server=ada/",
        "servers!server=ada/gpu",
        "groups!group=g",
        "inherit",
    ] {
        assert_eq!(Scope::parse(good).unwrap().to_string(), good);
    }
    let table = [
        ("fly:moon", ScopeError::Unknown("fly:moon".into())),
        ("read:users!colour=red", ScopeError::BadFilter("colour=red".into())),
        ("read:users!user=", ScopeError::BadFilter("user=".into())),
        ("servers!server=ada", ScopeError::BadFilter("server=ada".into())),
        ("servers!server=/x", ScopeError::BadFilter("server=/x".into())),
        ("read:users!group", ScopeError::BadFilter("group".into())),
        ("self!user=ada", ScopeError::MetaFilter("self!user=ada".into())),
        ("", ScopeError::Unknown("".into())),
    ];
    for (text, want) in table {
        assert_eq!(Scope::parse(text), Err(want));
    }
}

#[test]
fn a_shared_scope_is_of_one_server() {
    let pin = |text: &str| Scope::parse(text).unwrap().of_server("ada", "doc").map(|s| s.to_string());
    let want = Ok("access:servers!server=ada/doc".to_owned());
    assert_eq!((pin("access:servers"), pin("access:servers!server=ada/doc")), (want.clone(), want));
    for bad in ["access:servers!server=ada/", "access:servers!user=ada", "read:users!user", "servers!server"]
    {
        assert_eq!(pin(bad), Err(ScopeError::NotOfServer(bad.into(), "ada/doc".into())));
    }
    for meta in ["self", "inherit", "no_scope"] {
        assert_eq!(pin(meta), Err(ScopeError::MetaFilter(meta.into())));
    }
    // whatever is shared, it reaches that server and nothing else; only its owner's name is told with it
    let all: Vec<Scope> =
        all_names().filter_map(|name| Scope::parse(name).unwrap().of_server("ada", "doc").ok()).collect();
    let held = ScopeSet::resolve(&all, Whose::of_user("bob"));
    for name in all_names() {
        for beyond in [
            Target::Hub,
            Target::Server("ada", ""),
            Target::Server("bob", "doc"),
            Target::User("bob"),
            Target::Group("g"),
            Target::Service("s"),
        ] {
            let told = name == "read:users:name" && beyond == Target::Server("ada", "");
            assert_eq!(held.access(name, beyond, &member) == Access::Granted, told, "{name} {beyond:?}");
        }
        let known = held.access(name, Target::User("ada"), &member) == Access::Granted;
        assert_eq!(known, name == "read:users:name", "{name}");
    }
    assert_eq!(held.access("access:servers", Target::Server("ada", "doc"), &member), Access::Granted);
}

#[test]
fn every_contained_scope_exists() {
    for table::Row(name, inner, about) in TABLE {
        assert!(!about.is_empty() && about.starts_with(char::is_uppercase), "{name}: {about:?}");
        for i in *inner {
            assert!(known(i).is_some(), "{name} contains {i}");
        }
    }
}

#[test]
fn contained_scopes_are_added_with_the_same_filter() {
    let s = set(&["servers!user"]);
    let text = s.to_strings();
    for want in ["servers", "read:servers", "start:servers", "delete:servers", "read:users:name"] {
        assert!(text.contains(&format!("{want}!user=ada")), "{want} in {text:?}");
    }
    assert!(!text.iter().any(|t| t.starts_with("admin")));
    assert!(
        set(&["read:servers!server=bob/x"]).to_strings().contains(&"read:users:name!user=bob".to_owned())
    );
}

#[test]
fn who_may_what() {
    use Access::{Elsewhere, Granted, Lacking};
    let table = [
        ("read:users", "read:users", Target::User("zoe"), Granted),
        ("read:users!user", "read:users", Target::User("ada"), Granted),
        ("read:users!user", "read:users", Target::User("zoe"), Elsewhere),
        ("read:users!user", "users", Target::User("ada"), Lacking),
        ("read:users!group=g", "read:users", Target::User("bob"), Granted),
        ("read:users!group=g", "read:users", Target::User("zoe"), Elsewhere),
        ("servers!user", "start:servers", Target::Server("ada", "gpu"), Granted),
        ("servers!server=ada/gpu", "start:servers", Target::Server("ada", "gpu"), Granted),
        ("servers!server=ada/gpu", "start:servers", Target::Server("ada", ""), Elsewhere),
        ("groups!group=g", "read:groups", Target::Group("g"), Granted),
        ("groups!group=g", "read:groups", Target::Group("h"), Elsewhere),
        ("admin:users!user", "admin:users", Target::Hub, Elsewhere),
        ("admin:users", "admin:users", Target::Hub, Granted),
        ("list:users!group=g", "list:users", Target::List, Granted),
        ("access:services!service=s", "access:services", Target::Service("s"), Granted),
        ("no_scope", "read:users", Target::List, Lacking),
    ];
    for (held, scope, target, want) in table {
        assert_eq!(set(&[held]).access(scope, target, &member), want, "{held}: {scope} on {target:?}");
    }
}

#[test]
fn a_token_is_never_more_than_its_owner() {
    let user = Roles::default().held_by_user("ada", false, &[]);
    let token = ScopeSet::for_token(&parse(&["list:users"]), Whose::of_user("ada"), &user, &member);
    assert_eq!(token.to_strings(), ["read:users:groups!user=ada", "read:users:name!user=ada"]);
    let token = ScopeSet::for_token(&parse(&["read:users!user"]), Whose::of_user("ada"), &user, &member);
    assert!(token.to_strings().contains(&"read:users!user=ada".to_owned()));
    assert_eq!(ScopeSet::for_token(&parse(&["inherit"]), Whose::of_user("root"), &admin(), &member), admin());
}

#[test]
fn bare_filters_mean_the_owner_or_the_client_that_asked() {
    let all = ["read:users!user", "access:servers!server", "access:services!service"];
    let text = |whose| ScopeSet::resolve(&parse(&all), whose).to_strings().join(" ");
    let ada = Whose::of_user("ada");
    assert!(!text(ada).contains("access:"), "{}", text(ada));
    let by_server = Whose { issuer: Some(Issuer::Server("ada", "gpu")), ..ada };
    assert!(text(by_server).starts_with("access:servers!server=ada/gpu read:"));
    let by_service = Whose { issuer: Some(Issuer::Service("s")), ..ada };
    assert!(text(by_service).starts_with("access:services!service=s read:"));
    assert_eq!(text(Whose::of_service("s")), "access:services!service=s");
    assert!(ScopeSet::resolve(&parse(&["self"]), Whose::of_service("s")).to_strings().is_empty());
    let held = set(&["access:services"]);
    let token = ScopeSet::for_token(&parse(&["access:services!service"]), by_service, &held, &member);
    assert_eq!(token.access("access:services", Target::Service("s"), &member), Access::Granted);
    assert_eq!(token.access("access:services", Target::Service("t"), &member), Access::Elsewhere);
    let own = ScopeSet::for_token(&[], Whose::of_service("s"), &held, &member);
    assert_eq!(own.to_strings(), ["read:services:name!service=s"]);
}

#[test]
fn what_exceeds_the_owner_is_named() {
    let user = Roles::default().held_by_user("ada", false, &[]);
    let table = [
        ("admin:users", Some("admin:auth_state")),
        ("read:users:name", Some("read:users:name")),
        ("read:users:name!user=bob", Some("read:users:name!user=bob")),
        ("read:users:name!user", None),
        ("access:servers!server=ada/x", None),
        ("self", None),
    ];
    for (wanted, beyond) in table {
        assert_eq!(user.first_beyond(&set(&[wanted]), &member).as_deref(), beyond, "{wanted}");
    }
    let group = set(&["read:users!group=g"]);
    assert_eq!(group.first_beyond(&set(&["read:users!user=bob"]), &member), None);
    assert!(group.first_beyond(&set(&["read:users!user=zoe"]), &member).is_some());
}

#[test]
fn the_self_metascope_is_all_about_oneself() {
    let text = set(&["self"]).to_strings();
    assert!(!text.is_empty() && text.iter().all(|t| t.ends_with("!user=ada")), "{text:?}");
}

fn any_scope() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> =
        all_names().filter(|n| !matches!(*n, "self" | "inherit" | "no_scope")).collect();
    let filters = ["", "!user", "!user=bob", "!user=zoe", "!group=g", "!server=ada/", "!server=bob/x"];
    (prop::sample::select(names), prop::sample::select(filters.to_vec())).prop_map(|(n, f)| format!("{n}{f}"))
}

fn any_set() -> impl Strategy<Value = ScopeSet> {
    prop::collection::vec(any_scope(), 0..6).prop_map(|texts| {
        let scopes: Vec<Scope> = texts.iter().map(|t| Scope::parse(t).unwrap()).collect();
        ScopeSet::resolve(&scopes, Whose::of_user("ada"))
    })
}

proptest! {
    #[test]
    fn intersection_grants_only_what_both_grant(a in any_set(), b in any_set(), name in any_scope(), user in "(ada|bob|zoe)") {
        let name = name.split('!').next().unwrap_or_default().to_owned();
        let both = a.intersect(&b, &member);
        for target in [Target::User(&user), Target::Server(&user, ""), Target::Server(&user, "x"), Target::Hub, Target::Group("g")] {
            if both.access(&name, target, &member) == Access::Granted {
                prop_assert_eq!(a.access(&name, target, &member), Access::Granted);
                prop_assert_eq!(b.access(&name, target, &member), Access::Granted);
            }
        }
    }

    #[test]
    fn intersection_is_idempotent_and_commutes(a in any_set(), b in any_set()) {
        prop_assert_eq!(a.intersect(&a, &member), a.clone());
        prop_assert_eq!(a.intersect(&b, &member), b.intersect(&a, &member));
        prop_assert_eq!(a.first_beyond(&a.intersect(&b, &member), &member), None);
    }

    #[test]
    fn reading_never_panics(text in ".{0,60}") {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(scope.to_string(), text);
        }
    }
}
