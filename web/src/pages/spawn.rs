//! The choice between Carrel's own server and a classic one, for those who may have either.

use super::frame::{Frame, page, xsrf_field};
use super::html::text;

/// What is to be started.
#[derive(Debug, Clone)]
pub struct SpawnPage<'a> {
    /// Around it.
    pub frame: Frame<'a>,
    /// The form token.
    pub xsrf: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// Whose server.
    pub user: &'a str,
    /// Which; empty for the default one.
    pub server: &'a str,
    /// Whether it was a classic one the last time.
    pub classic: bool,
}

/// `/hub/spawn/…`
pub fn spawn(p: &SpawnPage<'_>) -> String {
    let which = if p.server.is_empty() {
        format!("{}'s server", p.user)
    } else {
        format!("{}'s server {}", p.user, p.server)
    };
    let (carrel, classic) = if p.classic { ("quiet", "") } else { ("", "quiet") };
    let body = format!(
        r#"<section class="card"><h1>Start {}</h1><form method="post" action="{}">{}
<p><button name="profile" value="carrel" class="{carrel}" id="carrel">Carrel</button></p><p class="note">There at once. Every kernel in a sandbox of its own; SQL and Python.</p>
<p><button name="profile" value="classic" class="{classic}" id="classic">Full Python server</button></p><p class="note">An ordinary JupyterLab server, for extensions of the server and other programs that need one. It takes some seconds; its kernels share one sandbox.</p>
</form></section>"#,
        text(&which),
        text(p.action),
        xsrf_field(p.xsrf)
    );
    page(&p.frame, "Start a server", "", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_can_be_chosen_and_what_was_last_comes_first() {
        let frame = Frame { user: Some("ada"), admin: false, style: "/s.css" };
        let page = |classic| {
            spawn(&SpawnPage {
                frame,
                xsrf: "x",
                action: "/hub/spawn/ada?next=%2F",
                user: "a<b",
                server: "gpu",
                classic,
            })
        };
        let html = page(false);
        assert!(html.contains("a&lt;b's server gpu") || html.contains("a&lt;b&#39;s server gpu"), "{html}");
        assert!(
            html.contains(r#"value="carrel" class="""#) && html.contains(r#"value="classic" class="quiet""#)
        );
        assert!(page(true).contains(r#"value="classic" class="""#));
    }
}
