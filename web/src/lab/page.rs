//! JupyterLab's page: its configuration and the HTML around it.

use serde_json::{Value, json};

use super::Lab;

/// How much of the application a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `/lab`
    MultipleDocument,
    /// `/doc`
    SingleDocument,
}

/// What one page is made of.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The server's address path, with both slashes: `/user/ada/`.
    pub base_url: &'a str,
    /// Where the shared static files are, without a slash at the end.
    pub static_url: &'a str,
    /// The hub's address path, with both slashes: `/hub/`.
    pub hub_prefix: &'a str,
    /// Whose server it is.
    pub user: &'a str,
    /// Its name; empty for the default server.
    pub server_name: &'a str,
    /// Which of the two views.
    pub mode: Mode,
    /// The workspace to load.
    pub workspace: &'a str,
    /// The file or folder to open.
    pub tree_path: &'a str,
    /// The address that does not exist, if this is the page that says so.
    pub not_found: Option<&'a str>,
}

/// Plugins that are off: they would fetch from the network, or install into the server.
const DISABLED: [&str; 2] =
    ["@jupyterlab/apputils-extension:announcements", "@jupyterlab/extensionmanager-extension"];

/// Addresses of JupyterLab's own API, by the name that the page's configuration gives them.
const ADDRESSES: [(&str, &str); 9] = [
    ("appUrl", "/lab"),
    ("treeUrl", "/lab/tree"),
    ("labextensionsUrl", "/lab/extensions"),
    ("listingsUrl", "/lab/api/listings"),
    ("settingsUrl", "/lab/api/settings"),
    ("themesUrl", "/lab/api/themes"),
    ("translationsApiUrl", "/lab/api/translations"),
    ("workspacesApiUrl", "/lab/api/workspaces"),
    ("licensesUrl", "/lab/api/licenses"),
];

/// The object that the front end reads its addresses and features from. It holds no token: a page uses cookies.
#[must_use]
pub fn page_config(lab: &Lab, page: &Page<'_>) -> Value {
    let replaced = lab.extensions.iter().flat_map(|extension| extension.replaces.iter().map(String::as_str));
    let disabled: Vec<&str> = DISABLED.into_iter().chain(replaced).collect();
    let mut config = json!({
        "appName": "JupyterLab",
        "appNamespace": "lab",
        "appVersion": lab.version,
        "notebookVersion": "[2, 21, 1]",
        "devMode": false,
        "baseUrl": page.base_url,
        "wsUrl": "",
        "fullStaticUrl": page.static_url,
        "mode": match page.mode {
            Mode::MultipleDocument => "multiple-document",
            Mode::SingleDocument => "single-document",
        },
        "workspace": page.workspace,
        "treePath": page.tree_path,
        "preferredPath": "/",
        "federated_extensions": lab.extensions,
        "disabledExtensions": disabled,
        "lockedExtensions": [],
        "extensionManager": null,
        "terminalsAvailable": true,
        "notebookStartsKernel": true,
        "quitButton": false,
        "exposeAppInBrowser": false,
        "buildAvailable": false,
        "buildCheck": false,
        "news": {"disabled": true},
        "token": "",
        "hubPrefix": page.hub_prefix,
        "hubHost": "",
        "hubUser": page.user,
        "hubServerUser": page.user,
        "hubServerName": page.server_name,
        "shareUrl": format!("{}user-redirect", page.hub_prefix),
    });
    for (name, path) in ADDRESSES {
        let full = format!("{}{}", page.base_url.trim_end_matches('/'), path);
        config[format!("full{}{}", name[..1].to_uppercase(), &name[1..])] = full.into();
        config[name] = path.into();
    }
    if let Some(address) = page.not_found {
        config["notFoundUrl"] = address.into();
    }
    config
}

/// The page as JupyterLab's own template would fill it.
#[must_use]
pub fn index_html(lab: &Lab, page: &Page<'_>) -> String {
    let config = script_json(&page_config(lab, page));
    let base = attribute(page.base_url);
    let statics = attribute(page.static_url);
    let main = attribute(&lab.main);
    let hash = main.strip_prefix("main.").and_then(|rest| rest.strip_suffix(".js")).unwrap_or("");
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>JupyterLab</title>
<meta name="viewport" content="width=device-width,initial-scale=1">
<script id="jupyter-config-data" type="application/json">{config}</script>
<link rel="icon" type="image/x-icon" href="{base}static/favicons/favicon.ico" class="idle favicon">
<link rel="" type="image/x-icon" href="{base}static/favicons/favicon-busy-1.ico" class="busy favicon">
<script defer="defer" src="{statics}/{main}?v={hash}"></script>
</head>
<body class="jp-ThemedContainer"></body>
</html>
"#
    )
}

/// JSON that cannot end the script element it stands in.
fn script_json(value: &Value) -> String {
    let text = value.to_string();
    let mut safe = String::with_capacity(text.len() + 64);
    for letter in text.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                safe.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            other => safe.push(other),
        }
    }
    safe
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::tests::folder;

    fn page<'a>() -> Page<'a> {
        Page {
            base_url: "/user/ada/",
            static_url: "/hub/static/lab/4.6.6",
            hub_prefix: "/hub/",
            user: "ada",
            server_name: "",
            mode: Mode::MultipleDocument,
            workspace: "default",
            tree_path: "",
            not_found: None,
        }
    }

    #[test]
    fn addresses_are_below_the_server() {
        let folder = folder();
        let lab = Lab::load(&folder.path().join("lab"), None).unwrap();
        let config = page_config(&lab, &page());
        assert_eq!(config["fullSettingsUrl"], "/user/ada/lab/api/settings");
        assert_eq!(config["settingsUrl"], "/lab/api/settings");
        assert_eq!(config["fullAppUrl"], "/user/ada/lab");
        assert_eq!(config["token"], "");
        assert_eq!(config["federated_extensions"][0]["load"], "static/r.js");
        assert_eq!(config.get("notFoundUrl"), None);
    }

    #[test]
    fn what_an_extension_replaces_is_off() {
        let folder = folder();
        let lab = Lab::load(&folder.path().join("lab"), None).unwrap();
        let config = page_config(&lab, &page());
        let off = config["disabledExtensions"].as_array().unwrap();
        assert_eq!(off.len(), DISABLED.len() + 1);
        assert!(off.contains(&json!("@jupyterlab/some:part")), "{off:?}");
        assert_eq!(config["federated_extensions"][1].get("replaces"), None);
    }

    #[test]
    fn nothing_in_the_page_can_break_out() {
        let folder = folder();
        let lab = Lab::load(&folder.path().join("lab"), None).unwrap();
        let hostile = "</script><script>alert(1)</script>&\u{2028}";
        let html = index_html(
            &lab,
            &Page { tree_path: hostile, workspace: hostile, base_url: "/user/\"><b>/", ..page() },
        );
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(!html.contains("\"><b>"), "{html}");
        assert_eq!(html.matches("</script>").count(), 2);
        let json = html.split("application/json\">").nth(1).unwrap().split("</script>").next().unwrap();
        let config: Value = serde_json::from_str(json).unwrap();
        assert_eq!(config["treePath"], hostile);
    }
}
