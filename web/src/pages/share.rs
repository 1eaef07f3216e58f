//! The page on which somebody accepts the use of another's server.

use super::frame::{Frame, page, xsrf_field};
use super::html::text;

/// What is offered.
#[derive(Debug, Clone)]
pub struct AcceptPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The form token.
    pub xsrf: &'a str,
    /// The code that is exchanged.
    pub code: &'a str,
    /// Where it goes on, if not to the server.
    pub next: Option<&'a str>,
    /// Whose server.
    pub owner: &'a str,
    /// Which; empty for the default one.
    pub server: &'a str,
    /// Its address.
    pub url: &'a str,
    /// Whether it runs.
    pub running: bool,
    /// What is given, in words.
    pub gets: &'a [&'a str],
}

/// `/hub/accept-share`
pub fn accept(p: &AcceptPage<'_>) -> String {
    let (owner, user) = (text(p.owner), text(p.frame.user.unwrap_or("")));
    let server = if p.server.is_empty() { "server".to_owned() } else { format!("server {}", text(p.server)) };
    let gets: String = p.gets.iter().map(|what| format!("<li>{}</li>", text(what))).collect();
    let stopped = if p.running {
        String::new()
    } else {
        format!(
            r#"<p id="stopped">It does not run just now: ask {owner} to start it before you open it.</p>"#
        )
    };
    let next = p.next.map_or_else(String::new, |next| {
        format!(r#"<input type="hidden" name="next" value="{}">"#, text(next))
    });
    let body = format!(
        r#"<section class="card"><h1>Use {owner}'s {server}?</h1>
<p>{owner} offers you, {user}, the use of the {server} at <code>{}</code>. On this server and no other you may then:</p>
<ul id="gets">{gets}</ul>
<p>What you run there runs as {owner}, with {owner}'s files, and {owner} can see it. What {owner}'s notebooks show runs in your browser, where you are signed in: accept only from people you trust.</p>{stopped}
<div class="row"><form method="post" action="/hub/accept-share">{}<input type="hidden" name="code" value="{}">{next}<button type="submit" id="accept">Accept</button></form>
<a class="button quiet" id="decline" href="/hub/home">Not now</a></div></section>"#,
        text(p.url),
        xsrf_field(p.xsrf),
        text(p.code)
    );
    page(&p.frame, "Accept a share", "", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer<'a>(odd: &'a str, gets: &'a [&'a str]) -> AcceptPage<'a> {
        let frame = Frame { user: Some(odd), admin: false, style: "/s.css" };
        let (xsrf, code, next, owner, server, url) = (odd, odd, Some(odd), odd, odd, odd);
        AcceptPage { frame, xsrf, code, next, owner, server, url, running: false, gets }
    }

    #[test]
    fn nothing_can_leave_its_place() {
        let evil = "\"><script>alert(1)</script>";
        let page = accept(&offer(evil, &[evil]));
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn it_says_whose_server_it_is_and_what_one_may_do_there() {
        let page = accept(&offer("word", &["Enter servers"]));
        for want in
            ["word's server word", "Enter servers", r#"name="code" value="word""#, "ask word to start it"]
        {
            assert!(page.contains(want), "{want}");
        }
        assert_eq!(page.matches(r#"name="_xsrf" value="word""#).count(), 1);
        let page = accept(&AcceptPage { running: true, next: None, server: "", ..offer("word", &[]) });
        assert!(
            !page.contains("ask word") && !page.contains(r#"name="next""#) && page.contains("word's server?")
        );
    }
}
