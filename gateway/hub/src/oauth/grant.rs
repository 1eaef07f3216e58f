//! What a client gets: who the person is, access to what the client stands for, and what it may ask for as far as the person has it.

use super::Code;
use crate::scope::{Issuer, Member, Scope, ScopeSet, Whose};

/// The most scopes of one request.
const MAX_SCOPES: usize = 64;

/// The scopes of a grant, as they are written into the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Who the person is, and access to what the client stands for: every grant has these.
    pub always: Vec<String>,
    /// What the client gets besides, which a person must be told.
    pub besides: Vec<Scope>,
}

impl Granted {
    /// All scopes.
    pub fn all(&self) -> Vec<String> {
        self.always.iter().cloned().chain(self.besides.iter().map(ToString::to_string)).collect()
    }
}

/// Decides what `user` grants to the client that stands for `issuer`.
///
/// As JupyterHub does: `asked` (all of `allowed` if nothing is asked for) must lie within `allowed`, else the request is refused; what the
/// person does not hold falls away without a word; `identify`, which old clients ask for, is always granted and needs no asking.
pub fn grant(
    asked: Option<&str>,
    allowed: &[Scope],
    issuer: Issuer<'_>,
    user: &str,
    held: &ScopeSet,
    member: Member<'_>,
) -> Result<Granted, (Code, String)> {
    let invalid = |why: String| (Code::InvalidScope, why);
    let whose = Whose { issuer: Some(issuer), ..Whose::of_user(user) };
    let always = vec!["read:users:name!user".into(), "read:users:groups!user".into(), issuer.access_scope()];
    let wanted: Vec<Scope> = match asked {
        None => allowed.to_vec(),
        Some(text) => {
            let words: Vec<&str> = text.split(' ').filter(|w| !w.is_empty() && *w != "identify").collect();
            if words.len() > MAX_SCOPES {
                return Err(invalid(format!("at most {MAX_SCOPES} scopes")));
            }
            let parsed = words.iter().map(|w| Scope::parse(w).map_err(|e| invalid(e.to_string())));
            parsed.collect::<Result<_, _>>()?
        }
    };
    let required: Vec<Scope> = always.iter().filter_map(|t| Scope::parse(t).ok()).collect();
    let required = ScopeSet::resolve(&required, whose);
    let inherits = allowed.iter().any(Scope::is_inherit);
    let may_ask = ScopeSet::resolve(allowed, whose).union(required.clone());
    let mut besides = Vec::new();
    for scope in wanted {
        let resolved = ScopeSet::resolve(std::slice::from_ref(&scope), whose);
        let within = inherits || !scope.is_inherit() && may_ask.first_beyond(&resolved, member).is_none();
        if !within {
            return Err(invalid(format!("this client may not ask for {scope}")));
        }
        if scope.is_inherit() {
            besides.push(scope);
        } else if required.first_beyond(&resolved, member).is_none() {
            // everybody who gets here grants it anyway
        } else if held.first_beyond(&resolved, member).is_none() {
            besides.push(scope);
        } else {
            let part = resolved.intersect(held, member).to_strings();
            besides.extend(part.iter().filter_map(|t| Scope::parse(t).ok()));
        }
    }
    besides.sort();
    besides.dedup();
    Ok(Granted { always, besides })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Roles;

    fn decide(asked: Option<&str>, allowed: &[&str]) -> Result<Vec<String>, String> {
        let allowed: Vec<Scope> = allowed.iter().map(|s| Scope::parse(s).unwrap()).collect();
        let held = Roles::default().held_by_user("ada", false, &[]);
        let member = |group: &str, user: &str| group == "g" && user == "ada";
        grant(asked, &allowed, Issuer::Service("s"), "ada", &held, &member)
            .map(|g| g.besides.iter().map(ToString::to_string).collect())
            .map_err(|(code, _)| code.as_str().to_owned())
    }

    #[test]
    fn a_client_gets_what_it_may_ask_for_and_the_person_has() {
        let none: Vec<String> = vec![];
        let refused = || Err("invalid_scope".to_owned());
        let list = |s: &[&str]| Ok(s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let table = [
            (None, vec![], Ok(none.clone())),
            (Some("identify"), vec![], Ok(none.clone())),
            (Some("read:users:name!user"), vec![], Ok(none.clone())),
            (Some("access:services!service=s"), vec![], Ok(none.clone())),
            (Some("access:services!service=other"), vec![], refused()),
            (Some("admin:users"), vec![], refused()),
            (Some("fly:moon"), vec![], refused()),
            (Some("inherit"), vec![], refused()),
            (None, vec!["servers!user"], list(&["servers!user"])),
            (Some("read:servers!user"), vec!["servers!user"], list(&["read:servers!user"])),
            (Some("tokens!user"), vec!["servers!user"], refused()),
            // no administrator: only the part about oneself
            (None, vec!["read:users:activity"], list(&["read:users:activity!user=ada"])),
            (None, vec!["admin:users", "list:services"], {
                let own = [
                    "read:users!user=ada",
                    "read:users:activity!user=ada",
                    "read:users:groups!user=ada",
                    "read:users:name!user=ada",
                    "users:activity!user=ada",
                ];
                list(&own)
            }),
            (None, vec!["shutdown"], Ok(none.clone())),
            (None, vec!["inherit"], list(&["inherit"])),
            (Some("servers!user"), vec!["inherit"], list(&["servers!user"])),
        ];
        for (asked, allowed, want) in table {
            let got = decide(asked, &allowed).map(|mut g| {
                g.sort();
                g
            });
            assert_eq!(got, want, "{asked:?} of {allowed:?}");
        }
        let many = vec!["read:hub"; 65].join(" ");
        assert_eq!(decide(Some(&many), &["read:hub"]), refused());
    }
}
