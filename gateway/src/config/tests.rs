//! The template, the refusals, the ranges.

use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/state"))
}

/// The template with every default uncommented.
fn all_defaults() -> String {
    keys::template(None, None)
        .lines()
        .map(|l| match l.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(k, v)| !k.contains(' ') && !v.is_empty()) => {
                rest.to_owned()
            }
            _ => l.to_owned(),
        })
        .take_while(|l| !l.starts_with("# Bounds that a user or a group"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_template_is_valid_and_says_the_real_defaults() {
    let from_template = parse(&all_defaults()).unwrap();
    let mut defaults = Config::defaults(Path::new("/state"));
    defaults.engine = from_template.engine.clone();
    assert_eq!(format!("{from_template:?}"), format!("{defaults:?}"));
    assert_eq!(
        format!("{:?}", parse(&keys::template(None, None)).unwrap().gateway),
        format!("{:?}", Gateway::default())
    );
    assert!(from_template.engine.contains_key("memory_limit"));
}

#[test]
fn init_writes_what_it_was_given_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carrel.toml");
    Config::write_template(&path, Some(Path::new("/opt/with \"quote")), Some(18001)).unwrap();
    let config = Config::load(&path, folder.path()).unwrap();
    assert_eq!((config.gateway.port, config.prefix()), (18001, PathBuf::from("/opt/with \"quote")));
    assert!(matches!(Config::write_template(&path, None, None), Err(ConfigError::Exists(_))));
}

#[test]
fn mistakes_are_named_with_line_and_suggestion() {
    let table = [
        ("[gatway]\nport = 1", "line 1: unknown table [gatway]; did you mean gateway?"),
        ("[gateway]\nprot = 1", "line 2: unknown key prot in [gateway]; did you mean port?"),
        ("[limits.kernle]\n", "line 1: unknown key kernle in [limits]; did you mean kernel?"),
        ("[engine]\nmemory = 1", "line 2: unknown key memory in [engine]; did you mean memory_limit?"),
        ("[[dataset]]\nname='a.b'\nurl='x'", "line 3: unknown key url in [dataset]; known are"),
        ("[auth]\nlogin_days = 0", "auth.login_days must be between 1 and 365"),
        ("[gateway]\nport = 70000", "line 2:"),
        ("[gateway]\nhost = \"everywhere\"", "line 2: invalid IP address"),
        ("[gateway]\nuser = \"root\"", "must be an ordinary user"),
        ("[log]\nlevel = \"loud\"", "log.level"),
        ("[limits.kernel]\nmemory = \"much\"", "\"much\" is not a size"),
        ("[paths]\nprefix = \"rel\"", "paths.prefix must be an absolute path"),
        ("[[catalog]]\nname = \"a\"", "every [[catalog]] needs a name and an absolute path"),
        ("port == 1", "line 1:"),
    ];
    for (text, want) in table {
        let got = parse(text).unwrap_err();
        assert!(got.contains(want), "{text:?}: {got}");
    }
}

#[test]
fn sizes_are_read_as_people_mean_them() {
    for (text, want) in [("512", 512), ("64KB", 65536), ("1.5 GiB", 3 << 29), ("2m", 2 << 20)] {
        assert_eq!(text::parse_size(text), Some(want), "{text}");
    }
    for bad in ["", "x", "1.2.3", "5 parsecs", "-1"] {
        assert_eq!(text::parse_size(bad), None, "{bad}");
    }
}

#[test]
fn the_documentation_is_the_one_in_docs() {
    let kept = include_str!("../../../docs/config.md");
    assert_eq!(kept, keys::document(), "run `carrel init --document > docs/config.md`");
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_a_message(text in "[\\[\\]a-z.= \"0-9\n]{0,80}") {
        let _ = parse(&text);
    }
}
