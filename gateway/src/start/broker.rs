//! The broker's folders and configuration, and a look at the cluster before anything starts: a keytab that does not fit is refused here,
//! a cluster that is away is not.

use super::{Fatal, folders, privileges};
use crate::config::Config;
use crate::settings::{self, Identity};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Writes the configuration and makes the audit's folder. Gives who the broker will be; none where no cluster is configured.
pub fn prepare(config: &Config, gateway: Identity) -> Result<Option<Identity>, Fatal> {
    let Some(text) = settings::broker_config(config) else { return Ok(None) };
    let id = privileges::separate("hdfs.user", &config.hdfs.user, gateway)?;
    let audit = settings::audit_path(config);
    folders::folder(&audit, 0o700)?;
    if privileges::is_root() {
        chown(&audit, Some(id.uid), Some(id.gid)).map_err(|e| folders::cannot("give away", &audit, &e))?;
    }
    folders::write_config(&settings::krb5_config_path(config), settings::KRB5_CONFIG.to_owned())?;
    folders::write_config(&settings::broker_config_path(config), text)?;
    Ok(Some(id))
}

/// Refuses to go on with a configuration, keytab or clock that the cluster does not take. A cluster that does not answer may come back.
pub fn check(config: &Config, id: Identity) -> Result<(), Fatal> {
    match ask(config, id) {
        Ok(said) => tracing::info!(hdfs = said, "the cluster answers"),
        Err(Fatal { code: 69, message }) => {
            tracing::warn!(
                error = message,
                "the cluster cannot be reached; datasets on it are unavailable until it comes back"
            );
        }
        Err(fatal) => return Err(fatal),
    }
    Ok(())
}

/// What `carrel check` shows.
pub fn look(config: &Config) -> Result<String, Fatal> {
    let gateway = privileges::identity(&config.gateway.user)?;
    match prepare(config, gateway)? {
        Some(id) => ask(config, id),
        None => Ok("not configured".into()),
    }
}

fn ask(config: &Config, id: Identity) -> Result<String, Fatal> {
    let program = config.prefix().join("bin/carrel-broker");
    let mut command = Command::new(&program);
    command.args(["check", "--config"]).arg(settings::broker_config_path(config));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("CARREL_LOG", "off");
    command.current_dir("/").stdin(Stdio::null());
    if privileges::is_root() {
        command.uid(id.uid).gid(id.gid);
    }
    let out = command.output().map_err(|e| {
        Fatal::unavailable(format!("cannot run {}: {e}; run `make install`", program.display()))
    })?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let said = text.trim().trim_start_matches("carrel-broker: ").to_owned();
    match out.status.code() {
        Some(69) => Err(Fatal::unavailable(said)),
        Some(64) => Err(Fatal::usage(format!("[hdfs]: {said}"))),
        _ => Err(Fatal::internal(format!("{} check: {said}", program.display()))),
    }
}
