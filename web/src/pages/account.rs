//! Pages about people: signing in, tokens, and the administrator's list.

use super::frame::{ANONYMOUS, Frame, page, xsrf_field};
use super::html::text;

/// The login form.
#[derive(Debug, Clone, Copy)]
pub struct LoginPage<'a> {
    /// The form token.
    pub xsrf: &'a str,
    /// The form's address, with where to go afterwards.
    pub action: &'a str,
    /// What was typed as a name before.
    pub username: &'a str,
    /// What went wrong.
    pub problem: Option<&'a str>,
}

/// `/hub/login`
pub fn login(p: &LoginPage<'_>) -> String {
    let problem =
        p.problem.map_or_else(String::new, |m| format!(r#"<p class="alert" role="alert">{}</p>"#, text(m)));
    let body = format!(
        r#"<section class="card login"><h1>Sign in</h1>{problem}
<form method="post" action="{}">{}
<label for="username">User name</label><input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus maxlength="128" value="{}">
<label for="password">Password</label><input id="password" name="password" type="password" autocomplete="current-password" required maxlength="1024">
<button type="submit">Sign in</button></form></section>"#,
        text(p.action),
        xsrf_field(p.xsrf),
        text(p.username)
    );
    page(&ANONYMOUS, "Sign in", "", &body)
}

/// One token in the list.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub note: String,
    /// What it may do.
    pub scopes: String,
    /// When it was last used.
    pub used: String,
    /// When it ends.
    pub expires: String,
}

/// A token that was just made: shown this once.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a>(pub &'a str);

/// The page with a user's tokens.
#[derive(Debug, Clone)]
pub struct TokenPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The form token.
    pub xsrf: &'a str,
    /// The tokens.
    pub tokens: &'a [TokenRow],
    /// The one just made.
    pub fresh: Option<NewToken<'a>>,
}

/// `/hub/token`
pub fn token(p: &TokenPage<'_>) -> String {
    let mut body = String::from("<h1>API tokens</h1>");
    if let Some(NewToken(secret)) = p.fresh {
        body.push_str(&format!(
            r#"<section class="card" role="status"><p>Your new token. Copy it now, it is not shown again.</p><code class="secret" id="token">{}</code></section>"#,
            text(secret)
        ));
    }
    body.push_str(&format!(
        r#"<form method="post" action="/hub/token">{}<input type="hidden" name="action" value="create">
<label for="note">New token for</label><div class="row"><input id="note" name="note" maxlength="200" placeholder="my script">
<select name="days" aria-label="Expires"><option value="1">1 day</option><option value="30" selected>30 days</option><option value="365">1 year</option><option value="">never</option></select>
<button>Create</button></div><p class="note">It can do all that you can. Tokens with fewer rights are made through the API.</p></form>"#,
        xsrf_field(p.xsrf)
    ));
    if !p.tokens.is_empty() {
        body.push_str(r#"<h2>Your tokens</h2><div class="scroll"><table><thead><tr><th>Id</th><th>For</th><th>May</th><th>Last used</th><th>Expires</th><th>Action</th></tr></thead><tbody>"#);
        for t in p.tokens {
            body.push_str(&format!(
                r#"<tr><td>{id}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td><form method="post" action="/hub/token">{}<input type="hidden" name="action" value="revoke"><input type="hidden" name="id" value="{id}"><button class="bad" aria-label="Revoke {id}">Revoke</button></form></td></tr>"#,
                text(&t.note),
                text(&t.scopes),
                text(&t.used),
                text(&t.expires),
                xsrf_field(p.xsrf),
                id = text(&t.id)
            ));
        }
        body.push_str("</tbody></table></div>");
    }
    page(&p.frame, "Tokens", "", &body)
}

/// One user in the administrator's list.
#[derive(Debug, Clone)]
pub struct AdminRow {
    /// The name.
    pub name: String,
    /// Whether an administrator.
    pub admin: bool,
    /// Running servers, by name.
    pub running: Vec<String>,
    /// The last sign of life.
    pub last_activity: String,
}

/// The administrator's list.
#[derive(Debug, Clone)]
pub struct AdminPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The users of this page of the list.
    pub users: &'a [AdminRow],
    /// How many users there are.
    pub total: usize,
    /// The address of the next part of the list.
    pub next: Option<String>,
}

/// `/hub/admin`
pub fn admin(p: &AdminPage<'_>) -> String {
    let mut body = format!(
        r#"<h1>Users</h1><p class="note">{} users. They are managed with <code>carrel user</code> or the API.</p><div class="scroll"><table><thead><tr><th>Name</th><th>Role</th><th>Servers</th><th>Last activity</th></tr></thead><tbody>"#,
        p.total
    );
    for u in p.users {
        let running: Vec<String> =
            u.running.iter().map(|s| if s.is_empty() { "default".to_owned() } else { text(s) }).collect();
        body.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(&u.name),
            if u.admin { "admin" } else { "user" },
            running.join(", "),
            text(&u.last_activity)
        ));
    }
    body.push_str("</tbody></table></div>");
    if let Some(next) = &p.next {
        body.push_str(&format!(r#"<p><a href="{}">Next</a></p>"#, text(next)));
    }
    page(&p.frame, "Users", "", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_cannot_leave_its_place() {
        let evil = "\"><script>alert(1)</script>";
        let page = login(&LoginPage { xsrf: evil, action: evil, username: evil, problem: Some(evil) });
        assert!(!page.contains("<script"), "{page}");
        let frame = Frame { user: Some(evil), admin: true, style: "/s.css" };
        let row = TokenRow {
            id: evil.into(),
            note: evil.into(),
            scopes: evil.into(),
            used: evil.into(),
            expires: evil.into(),
        };
        let page = token(&TokenPage { frame, xsrf: evil, tokens: &[row], fresh: Some(NewToken(evil)) });
        assert!(!page.contains("<script"));
        let row = AdminRow {
            name: evil.into(),
            admin: false,
            running: vec![evil.into()],
            last_activity: evil.into(),
        };
        assert!(
            !admin(&AdminPage { frame, users: &[row], total: 1, next: Some(evil.into()) })
                .contains("<script")
        );
    }

    #[test]
    fn forms_have_labels_and_a_form_token() {
        let page =
            login(&LoginPage { xsrf: "t0k", action: "/hub/login?next=%2F", username: "", problem: None });
        for want in [
            r#"name="_xsrf" value="t0k""#,
            r#"<label for="username">"#,
            r#"<label for="password">"#,
            r#"action="/hub/login?next=%2F""#,
        ] {
            assert!(page.contains(want), "{want}");
        }
    }
}
