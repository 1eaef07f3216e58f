//! What all pages share: head, navigation, style.

use super::html::text;

/// The style sheet, served as `/hub/static/carrel.css`.
pub const STYLE: &str = include_str!("carrel.css");

/// What surrounds a page's content.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Who is signed in.
    pub user: Option<&'a str>,
    /// Whether the admin page is linked.
    pub admin: bool,
    /// Where the style sheet is.
    pub style: &'a str,
}

/// The frame of pages for nobody in particular.
pub(super) const ANONYMOUS: Frame<'static> =
    Frame { user: None, admin: false, style: "/hub/static/carrel.css" };

/// A whole page. `head` and `body` are HTML already.
pub(super) fn page(frame: &Frame<'_>, title: &str, head: &str, body: &str) -> String {
    let nav = match frame.user {
        None => String::new(),
        Some(user) => {
            let admin = if frame.admin { r#"<a href="/hub/admin">Admin</a>"# } else { "" };
            format!(
                r#"<nav aria-label="Main"><a href="/hub/home">Home</a><a href="/hub/token">Tokens</a>{admin}<span class="who">{}</span><a href="/hub/logout">Sign out</a></nav>"#,
                text(user)
            )
        }
    };
    format!(
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{} – Carrel</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<link rel="stylesheet" href="{}"><link rel="icon" href="data:,">{head}</head>
<body><header><a class="mark" href="/hub/home">Carrel</a>{nav}</header><main>
{body}
</main></body></html>
"#,
        text(title),
        text(frame.style)
    )
}

/// The hidden field of every form.
pub(super) fn xsrf_field(xsrf: &str) -> String {
    format!(r#"<input type="hidden" name="_xsrf" value="{}">"#, text(xsrf))
}
