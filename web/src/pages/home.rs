//! Pages about servers: home, starting, not running; and the page for everything that went wrong.

use super::frame::{ANONYMOUS, Frame, page, xsrf_field};
use super::html::text;

/// One server on the home page.
#[derive(Debug, Clone)]
pub struct ServerRow {
    /// Its name; empty for the default one.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether it runs.
    pub running: bool,
    /// Since when, or when it was last used.
    pub when: Option<String>,
}

/// A server of somebody else's on the home page.
#[derive(Debug, Clone)]
pub struct SharedRow {
    /// Whose.
    pub owner: String,
    /// Its name; empty for the default one.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether it runs.
    pub running: bool,
}

/// The home page.
#[derive(Debug, Clone)]
pub struct HomePage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The form token.
    pub xsrf: &'a str,
    /// The user's servers, the default one first.
    pub servers: &'a [ServerRow],
    /// How many more named servers there may be.
    pub may_add: u32,
    /// Others' servers that the user may enter.
    pub shared: &'a [SharedRow],
    /// Services that the user may use: name and address.
    pub services: &'a [(String, String)],
}

/// `/hub/home`
pub fn home(p: &HomePage<'_>) -> String {
    let mut body = format!("<h1>Hello, {}</h1>", text(p.frame.user.unwrap_or("")));
    let (default, named): (Vec<_>, Vec<_>) = p.servers.iter().partition(|s| s.name.is_empty());
    for server in default {
        body.push_str(r#"<section class="card" aria-label="Your server"><div class="row">"#);
        if server.running {
            body.push_str(&format!(
                r#"<a class="button" id="start" href="{}">Open JupyterLab</a>{}<span class="on">running</span>{}"#,
                text(&server.url),
                action(p.xsrf, "stop", "", "Stop", "quiet"),
                since(server)
            ));
        } else {
            body.push_str(&format!(
                r#"<a class="button" id="start" href="/hub/spawn">Open JupyterLab</a><span class="note">not running; it starts at once</span>{}"#,
                since(server)
            ));
        }
        body.push_str("</div></section>");
    }
    if !named.is_empty() || p.may_add > 0 {
        body.push_str("<h2>Named servers</h2>");
    }
    if !named.is_empty() {
        body.push_str(r#"<div class="scroll"><table><thead><tr><th>Name</th><th>State</th><th>Last used</th><th>Action</th></tr></thead><tbody>"#);
        for s in named {
            let state = if s.running { r#"<span class="on">running</span>"# } else { "stopped" };
            let actions = if s.running {
                format!(
                    r#"<a class="button quiet" href="{}">Open</a>{}"#,
                    text(&s.url),
                    action(p.xsrf, "stop", &s.name, "Stop", "quiet")
                )
            } else {
                format!(
                    "{}{}",
                    action(p.xsrf, "start", &s.name, "Start", "quiet"),
                    action(p.xsrf, "remove", &s.name, "Remove", "bad")
                )
            };
            body.push_str(&format!(
                r#"<tr><td>{}</td><td>{state}</td><td>{}</td><td><div class="row">{actions}</div></td></tr>"#,
                text(&s.name),
                text(s.when.as_deref().unwrap_or("never"))
            ));
        }
        body.push_str("</tbody></table></div>");
    }
    if p.may_add > 0 {
        body.push_str(&format!(
            r#"<form method="post" action="/hub/home">{}<input type="hidden" name="action" value="start"><label for="name">New server</label>
<div class="row"><input id="name" name="name" required pattern="[a-z0-9]([a-z0-9\-]*[a-z0-9])?" maxlength="63" placeholder="gpu-2"><button>Start</button></div></form>"#,
            xsrf_field(p.xsrf)
        ));
    }
    if !p.shared.is_empty() {
        body.push_str(r#"<h2>Shared with you</h2><ul id="shared">"#);
        for s in p.shared {
            let which =
                if s.name.is_empty() { "server".to_owned() } else { format!("server {}", text(&s.name)) };
            let state = if s.running { r#" <span class="on">running</span>"# } else { "" };
            body.push_str(&format!(
                r#"<li><a href="{}">{}'s {which}</a>{state}</li>"#,
                text(&s.url),
                text(&s.owner)
            ));
        }
        body.push_str("</ul>");
    }
    if !p.services.is_empty() {
        body.push_str(r#"<h2>Services</h2><ul id="services">"#);
        for (name, url) in p.services {
            body.push_str(&format!(r#"<li><a href="{}">{}</a></li>"#, text(url), text(name)));
        }
        body.push_str("</ul>");
    }
    page(&p.frame, "Home", "", &body)
}

/// `/hub/spawn-pending/…`, which looks again every second.
pub fn spawn_pending(frame: &Frame<'_>, server: &str) -> String {
    let body = format!(
        r#"<section class="card" role="status"><h1>Your server is starting</h1><p>{} will be there in a moment. This page moves on by itself.</p></section>"#,
        text(server)
    );
    page(frame, "Starting", r#"<meta http-equiv="refresh" content="1">"#, &body)
}

/// The page for a server that does not run.
#[derive(Debug, Clone)]
pub struct NotRunningPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// Whose server.
    pub user: &'a str,
    /// Which.
    pub server: &'a str,
    /// Where it is started, by somebody who may.
    pub start: Option<&'a str>,
    /// Why it did not start, or ended by itself.
    pub why: Option<&'a str>,
}

/// `/hub/user/…`
pub fn not_running(p: &NotRunningPage<'_>) -> String {
    let which = if p.server.is_empty() { "server".to_owned() } else { format!("server {}", p.server) };
    let why =
        p.why.map_or_else(String::new, |why| format!(r#"<pre id="why">{}</pre>"#, text(&first_upper(why))));
    let (say, start) = match p.start {
        Some(start) => (
            "start it to go on".to_owned(),
            format!(r#"<p><a class="button" id="start" href="{}">Start</a></p>"#, text(start)),
        ),
        None => (format!("ask {} to start it", text(p.user)), String::new()),
    };
    let body = format!(
        r#"<section class="card"><h1>Server not running</h1><p>{}'s {} is not running. Nothing is lost; {say}.</p>{why}{start}</section>"#,
        text(p.user),
        text(&which)
    );
    page(&p.frame, "Not running", "", &body)
}

/// The page for everything that went wrong.
#[derive(Debug, Clone, Copy)]
pub struct ErrorPage<'a> {
    /// The HTTP status.
    pub status: u16,
    /// Its short name.
    pub title: &'a str,
    /// What happened, for the reader.
    pub message: &'a str,
    /// What an administrator finds in the log.
    pub request_id: &'a str,
    /// Where a server is started, if that would help.
    pub start: Option<&'a str>,
}

/// Any error.
pub fn error(p: &ErrorPage<'_>) -> String {
    let start = p.start.map_or_else(String::new, |s| {
        format!(r#"<p><a class="button" id="start" href="{}">Start</a></p>"#, text(s))
    });
    let body = format!(
        r#"<section class="card"><h1>{} – {}</h1><p>{}</p>{start}<p class="note">Reference <code>{}</code>. <a href="/hub/home">Home</a></p></section>"#,
        p.status,
        text(p.title),
        text(&first_upper(p.message)),
        text(p.request_id)
    );
    page(&ANONYMOUS, p.title, "", &body)
}

fn action(xsrf: &str, action: &str, name: &str, label: &str, class: &str) -> String {
    let aria =
        if name.is_empty() { String::new() } else { format!(r#" aria-label="{label} {}""#, text(name)) };
    format!(
        r#"<form method="post" action="/hub/home">{}<input type="hidden" name="action" value="{action}"><input type="hidden" name="name" value="{}"><button class="{class}"{aria}>{label}</button></form>"#,
        xsrf_field(xsrf),
        text(name)
    )
}

fn since(s: &ServerRow) -> String {
    s.when.as_deref().map_or_else(String::new, |w| format!(r#"<span class="note">{}</span>"#, text(w)))
}

fn first_upper(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}
