//! The keys as a fresh configuration file and as a page of the documentation.

use super::lists::LISTS_TEXT;
use super::{Key, TABLES};
use std::fmt::Write;
use std::path::Path;

/// A fresh configuration file: every key, commented out with its default.
pub fn template(prefix: Option<&Path>, port: Option<u16>) -> String {
    let mut out = String::from(
        "# Carrel's configuration. A key that is commented out has the value shown (nothing shown: see its explanation).\n\
         # `carrel check` reads this file and says what is wrong; the gateway refuses to start on an unknown key.\n",
    );
    for table in TABLES {
        // writing to a String cannot fail
        let _ = write!(out, "\n# {}\n[{}]\n", table.about, table.name);
        for Key(name, default, about) in table.keys {
            let chosen = match (table.name, *name) {
                ("gateway", "port") => port.map(|p| p.to_string()),
                ("paths", "prefix") => {
                    prefix.map(|p| toml::Value::from(p.to_string_lossy().as_ref()).to_string())
                }
                _ => None,
            };
            let _ = writeln!(out, "# {about}");
            let _ = match chosen {
                Some(value) => writeln!(out, "{name} = {value}"),
                None => writeln!(out, "# {name} = {default}"),
            };
        }
    }
    out.push_str(LISTS_TEXT);
    out
}

/// `docs/config.md`.
pub fn document() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         One TOML file, `carrel.toml` in the state folder. `carrel init` writes it with every key commented out; `carrel check` reads it. An\n\
         unknown key, a wrong type or a value out of range is refused before a port is opened, with the line and what was probably meant (exit\n\
         code 64). Sizes are numbers of bytes or texts such as `\"512MiB\"`. This page is made from the program's own list of keys.\n",
    );
    for table in TABLES {
        let _ = write!(out, "\n## `[{}]`\n\n{}\n", table.name, table.about);
        if !table.keys.is_empty() {
            out.push_str("\n| key | default | |\n|---|---|---|\n");
        }
        for Key(name, default, about) in table.keys {
            let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
            let _ = writeln!(out, "| `{name}` | {default} | {} |", about.replace('|', "\\|"));
        }
    }
    let _ = write!(
        out,
        "\n## `[[limit]]`, `[[allow]]`, `[[profile]]`, `[[service]]`, `[[role]]`, `[[catalog]]`, `[[dataset]]`\n\n```toml{LISTS_TEXT}```\n"
    );
    out
}
