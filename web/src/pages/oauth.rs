//! The page that asks whether somebody wants to sign in somewhere with their account here.

use super::frame::{Frame, page, xsrf_field};
use super::html::text;

/// The question.
#[derive(Debug, Clone)]
pub struct AuthorizePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The form token.
    pub xsrf: &'a str,
    /// Where the answer goes: the address of the question.
    pub action: &'a str,
    /// Who asks, as the administrator named it.
    pub client: &'a str,
    /// Scheme and host that people are sent back to, if it is not this one.
    pub origin: Option<&'a str>,
    /// What it gets, as the answer repeats it.
    pub scopes: &'a str,
    /// What it gets besides knowing who it is: in words, and limited to what.
    pub gets: &'a [(&'a str, Option<String>)],
}

/// `/hub/api/oauth2/authorize`
pub fn authorize(p: &AuthorizePage<'_>) -> String {
    let (client, user) = (text(p.client), text(p.frame.user.unwrap_or("")));
    let back = match p.origin {
        Some(origin) => format!("You will be sent back to <code>{}</code>.", text(origin)),
        None => "You will be sent back to a page on this host.".to_owned(),
    };
    let mut gets = format!("<li>Know that you are <strong>{user}</strong>, and which groups you are in</li>");
    for (what, limit) in p.gets {
        let limit = limit
            .as_deref()
            .map_or_else(String::new, |l| format!(r#" <span class="note">({})</span>"#, text(l)));
        gets.push_str(&format!("<li>{}{limit}</li>", text(what)));
    }
    let fields = |answer: &str| {
        format!(
            r#"{}<input type="hidden" name="answer" value="{answer}"><input type="hidden" name="scopes" value="{}">"#,
            xsrf_field(p.xsrf),
            text(p.scopes)
        )
    };
    let action = text(p.action);
    let body = format!(
        r#"<section class="card"><h1>Sign in to {client}?</h1>
<p>{client} asks to sign you in with your account here. {back} Until you sign out here it may then:</p>
<ul id="gets">{gets}</ul>
<div class="row"><form method="post" action="{action}">{}<button type="submit" id="authorize">Sign in</button></form>
<form method="post" action="{action}">{}<button type="submit" class="quiet" id="deny">Cancel</button></form></div></section>"#,
        fields("yes"),
        fields("no")
    );
    page(&p.frame, "Sign in elsewhere", "", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question<'a>(odd: &'a str, gets: &'a [(&'a str, Option<String>)]) -> AuthorizePage<'a> {
        let frame = Frame { user: Some(odd), admin: false, style: "/s.css" };
        AuthorizePage { frame, xsrf: odd, action: odd, client: odd, origin: Some(odd), scopes: odd, gets }
    }

    #[test]
    fn nothing_can_leave_its_place() {
        let evil = "\"><script>alert(1)</script>";
        let page = authorize(&question(evil, &[(evil, Some(evil.into()))]));
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn it_says_who_gets_what_and_both_answers_carry_the_form_token() {
        let gets = [("Start servers", Some("only you".to_owned()))];
        let page = authorize(&AuthorizePage { origin: None, ..question("word", &gets) });
        for want in [
            "Sign in to word?",
            "Start servers",
            "(only you)",
            "You will be sent back to a page on this host.",
        ] {
            assert!(page.contains(want), "{want}");
        }
        assert_eq!(page.matches(r#"name="_xsrf" value="word""#).count(), 2);
        assert!(
            page.contains(r#"name="answer" value="yes""#) && page.contains(r#"name="answer" value="no""#)
        );
    }
}
