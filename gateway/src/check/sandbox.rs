//! The layers of the sandbox on this host, in the mode that would be used, each with what to do where it is missing.

use super::Report;
use crate::config::Config;
use crate::settings;
use crate::start::privileges;
use carrel_spawnd::advice::{advice, without};
use carrel_spawnd::{Client, LayerName, LayerReport, LayerState, Mode, ModePreference, Refusal};
use serde::Deserialize;
use std::process::{Command, Stdio};

/// What a helper says of this host.
#[derive(Debug, Deserialize)]
struct Found {
    mode: Mode,
    layers: LayerReport,
}

/// Of the running helper, else tried by a new one.
pub(super) fn check(r: &mut Report, config: &Config) {
    let uid = privileges::identity(&config.gateway.user).map_or(0, |i| i.uid);
    let socket = settings::runtime_dir(config, privileges::is_root(), uid).join("spawnd.sock");
    let running = Client::connect(&socket).ok().and_then(|c| c.hello().ok());
    let found = match running {
        Some(hello) => {
            if let Some(wish) = other_mode(config.sandbox.mode, hello.mode) {
                r.warn(
                    "sandbox mode",
                    &format!("the helper that runs has mode {}, carrel.toml says {wish}", hello.mode),
                    "it takes effect after `carrel stop`",
                );
            }
            Found { mode: hello.mode, layers: hello.layers }
        }
        None => match probe(config) {
            Ok(found) => found,
            Err(why) => return r.bad("sandbox", &why, "without it no kernel starts"),
        },
    };
    r.good("sandbox mode", &found.mode.to_string());
    processors(r, &found.layers);
    let required = match config.sandbox.required.as_slice() {
        [] => LayerName::required_by_default(found.mode),
        named => named.to_vec(),
    };
    for line in lines(&found, &required) {
        match line {
            Line::Good(what, state) => r.good(&what, &state),
            Line::Optional(what, state, fix) => r.warn(&what, &state, &fix),
            Line::Required(what, state, fix) => r.bad(&what, &state, &fix),
        }
    }
}

/// Whether users can stand behind each other for processors, which needs to be known how long they wait.
fn processors(r: &Report, layers: &LayerReport) {
    if layers.get(&LayerName::Cpu).is_some_and(LayerState::is_on) {
        match std::fs::read_to_string("/proc/pressure/cpu") {
            Ok(_) => r.good("processors", "who wants more than a part stands behind who wants less"),
            Err(error) => r.warn(
                "processors",
                &format!("shared in equal parts and no better: this kernel does not count who waits for them (/proc/pressure/cpu: {error})"),
                "add psi=1 to the kernel's command line, so that who wants more than a part stands behind who wants less",
            ),
        }
    }
}

/// What is said of one layer: its name, its state, what to do.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Good(String, String),
    Optional(String, String, String),
    Required(String, String, String),
}

fn lines(found: &Found, required: &[LayerName]) -> Vec<Line> {
    let line = |layer: &LayerName| {
        let what = format!("layer {layer}");
        let Some(state) = found.layers.get(layer) else {
            let said = "the helper says nothing of it".to_owned();
            let fix = "it is of another version: run `carrel stop`, then `make install`".to_owned();
            return if required.contains(layer) {
                Line::Required(what, said, fix)
            } else {
                Line::Optional(what, said, fix)
            };
        };
        match advice(*layer, state, found.mode) {
            None => Line::Good(what, state.to_string()),
            Some(fix) if required.contains(layer) => Line::Required(
                what,
                state.to_string(),
                format!(
                    "no kernel starts without it; {fix}\n          or start without: {}",
                    without(&[*layer], required)
                ),
            ),
            Some(fix) => Line::Optional(what, state.to_string(), fix),
        }
    };
    LayerName::ALL.iter().map(line).collect()
}

/// The mode of carrel.toml where a running helper has another.
fn other_mode(wish: ModePreference, running: Mode) -> Option<&'static str> {
    match (wish, running) {
        (ModePreference::Root, Mode::Userns | Mode::Degraded) => Some("root"),
        (ModePreference::Userns, Mode::Root | Mode::Degraded) => Some("userns"),
        (ModePreference::Degraded, Mode::Root | Mode::Userns) => Some("degraded"),
        (ModePreference::Auto, Mode::Degraded) => Some("auto"),
        _ => None,
    }
}

/// `carrel-spawnd probe` prints what this host gives, as JSON.
fn probe(config: &Config) -> Result<Found, String> {
    let program = config.prefix().join("bin/carrel-spawnd");
    let mode = match config.sandbox.mode {
        ModePreference::Auto => "auto",
        ModePreference::Root => "root",
        ModePreference::Userns => "userns",
        ModePreference::Degraded => "degraded",
    };
    let out = Command::new(&program)
        .args(["probe", "--mode", mode, "--state"])
        .arg(&config.state)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
    #[derive(Deserialize)]
    struct Refused {
        err: Refusal,
    }
    if let Ok(refused) = serde_json::from_slice::<Refused>(&out.stdout) {
        return Err(refused.err.message);
    }
    serde_json::from_slice(&out.stdout).map_err(|e| {
        format!("{} probe: {e}: {}", program.display(), String::from_utf8_lossy(&out.stderr).trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrel_spawnd::LayerState;

    #[test]
    fn a_missing_layer_is_told_with_its_advice_and_fails_where_it_is_required() {
        let mut layers: LayerReport = LayerName::ALL.map(|layer| (layer, LayerState::On)).into();
        layers.insert(LayerName::Landlock, LayerState::Off("this kernel has no Landlock".into()));
        layers.insert(LayerName::Disk, LayerState::Partly("watched: no project quota on ext4".into()));
        layers.remove(&LayerName::Cpu);
        let found = Found { mode: Mode::Root, layers };
        let lines = lines(&found, &[LayerName::Mount, LayerName::Landlock]);
        assert_eq!(lines.len(), LayerName::ALL.len());
        let of = |name: &str| {
            let name = format!("layer {name}");
            lines.iter().find(|line| match line {
                Line::Good(what, _) | Line::Optional(what, ..) | Line::Required(what, ..) => *what == name,
            })
        };
        assert!(matches!(of("mount"), Some(Line::Good(_, state)) if state == "on"));
        assert!(matches!(of("disk"), Some(Line::Optional(_, _, fix)) if fix.contains("tune2fs")));
        assert!(matches!(of("cpu"), Some(Line::Optional(_, _, fix)) if fix.contains("carrel stop")));
        assert!(
            matches!(of("landlock"), Some(Line::Required(_, _, fix)) if fix.contains("lsm=landlock") && fix.contains("required = [\"mount\"]"))
        );
    }

    #[test]
    fn a_helper_of_another_mode_is_told() {
        assert_eq!(other_mode(ModePreference::Degraded, Mode::Root), Some("degraded"));
        assert_eq!(other_mode(ModePreference::Auto, Mode::Userns), None);
        assert_eq!(other_mode(ModePreference::Root, Mode::Root), None);
    }
}
