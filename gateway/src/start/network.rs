//! The proxy's folder and configuration. A list that the proxy does not take is refused before anything starts.

use super::{Fatal, folders, privileges};
use crate::config::Config;
use crate::settings::{self, Identity};
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

/// Writes the configuration and makes the journal's folder. Gives who the proxy will be; none where nothing may be reached.
pub fn prepare(config: &Config, gateway: Identity) -> Result<Option<Identity>, Fatal> {
    let Some(text) = settings::proxy_config(config)? else { return Ok(None) };
    let id = privileges::separate("network.user", &config.network.user, gateway)?;
    if config.hdfs.config.is_some() && privileges::is_root() && config.hdfs.user == config.network.user {
        return Err(Fatal::usage(
            "hdfs.user and network.user must be two users: what reaches the network for kernels must not hold the cluster's keytab",
        ));
    }
    let journal = settings::journal_path(config);
    folders::folder(&journal, 0o700)?;
    if privileges::is_root() {
        chown(&journal, Some(id.uid), Some(id.gid))
            .map_err(|e| folders::cannot("give away", &journal, &e))?;
    }
    // The proxy reads it again when it changes: a running one must never see a half of it, nor a list that is wrong.
    let path = settings::proxy_config_path(config);
    let new = path.with_extension("toml.new");
    folders::write_config(&new, text)?;
    ask(config, &new)?;
    std::fs::rename(&new, &path).map_err(|e| folders::cannot("write", &path, &e))?;
    Ok(Some(id))
}

/// What `carrel check` shows.
pub fn look(config: &Config) -> Result<String, Fatal> {
    let gateway = privileges::identity(&config.gateway.user)?;
    match prepare(config, gateway)? {
        Some(_) => ask(config, &settings::proxy_config_path(config)),
        None => Ok("not configured".into()),
    }
}

fn ask(config: &Config, file: &std::path::Path) -> Result<String, Fatal> {
    let program = config.prefix().join("bin/carrel-proxy");
    let mut command = Command::new(&program);
    command.args(["check", "--config"]).arg(file);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("CARREL_LOG", "off");
    command.current_dir("/").stdin(Stdio::null());
    let out = command.output().map_err(|e| {
        Fatal::unavailable(format!("cannot run {}: {e}; run `make install`", program.display()))
    })?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&out.stderr);
    let said = text.trim().trim_start_matches("carrel-proxy: ");
    let said = said.trim_start_matches(&format!("{}: ", file.display())).to_owned();
    match out.status.code() {
        Some(64) => Err(Fatal::usage(format!("carrel.toml: {said}"))),
        _ => Err(Fatal::internal(format!("{} check: {said}", program.display()))),
    }
}
