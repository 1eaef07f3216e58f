//! The connection file: where a kernel listens and with which key it signs.

use serde::{Deserialize, Serialize};

use crate::{Channel, Signer, WireError};

/// How the sockets are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Ports of an IP address.
    Tcp,
    /// Unix sockets: `ip` is a path prefix and the "port" a suffix.
    Ipc,
}

/// What stands in a connection file. Fields that we do not know are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// `tcp` or `ipc`.
    #[serde(default = "tcp")]
    pub transport: Transport,
    /// Address, or path prefix with `ipc`.
    pub ip: String,
    /// Port (or suffix) of the shell channel.
    pub shell_port: u16,
    /// Port of iopub.
    pub iopub_port: u16,
    /// Port of stdin.
    pub stdin_port: u16,
    /// Port of control.
    pub control_port: u16,
    /// Port of the heartbeat.
    pub hb_port: u16,
    /// The key as text; its bytes sign. Empty: unsigned.
    #[serde(default)]
    pub key: String,
    /// Always `hmac-sha256` in practice.
    #[serde(default = "hmac_sha256")]
    pub signature_scheme: String,
    /// The kernelspec's name, for the kernel's information.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kernel_name: String,
}

impl ConnectionInfo {
    /// Unix sockets `<prefix>-1` … `<prefix>-5`.
    #[must_use]
    pub fn ipc(prefix: &str, key: &str, kernel_name: &str) -> ConnectionInfo {
        ConnectionInfo {
            transport: Transport::Ipc,
            ip: prefix.to_owned(),
            shell_port: 1,
            iopub_port: 2,
            stdin_port: 3,
            control_port: 4,
            hb_port: 5,
            key: key.to_owned(),
            signature_scheme: hmac_sha256(),
            kernel_name: kernel_name.to_owned(),
        }
    }

    /// Reads the text of a connection file.
    ///
    /// # Errors
    /// When it is not JSON, lacks an address or port, or names an unknown signature scheme.
    pub fn parse(file: &[u8]) -> Result<ConnectionInfo, WireError> {
        let info: ConnectionInfo = serde_json::from_slice(file)
            .map_err(|source| WireError::Json { part: "connection file", source })?;
        if !info.key.is_empty() && info.signature_scheme != hmac_sha256() {
            return Err(WireError::UnknownScheme { scheme: info.signature_scheme });
        }
        Ok(info)
    }

    /// The text of the connection file.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The port (or suffix) of a channel.
    #[must_use]
    pub fn port(&self, channel: Channel) -> u16 {
        match channel {
            Channel::Shell => self.shell_port,
            Channel::Control => self.control_port,
            Channel::Stdin => self.stdin_port,
            Channel::Iopub => self.iopub_port,
            Channel::Heartbeat => self.hb_port,
        }
    }

    /// The ZeroMQ address of a channel: `tcp://ip:port` or `ipc://prefix-port`.
    #[must_use]
    pub fn endpoint(&self, channel: Channel) -> String {
        let port = self.port(channel);
        match self.transport {
            Transport::Tcp if self.ip.contains(':') => format!("tcp://[{}]:{port}", self.ip),
            Transport::Tcp => format!("tcp://{}:{port}", self.ip),
            Transport::Ipc => format!("ipc://{}-{port}", self.ip),
        }
    }

    /// The signer for this kernel's key.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer::new(&self.key)
    }
}

fn tcp() -> Transport {
    Transport::Tcp
}

fn hmac_sha256() -> String {
    "hmac-sha256".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_jupyter_clients_file() {
        let file = br#"{"shell_port": 57503, "iopub_port": 40885, "stdin_port": 52597, "control_port": 41121,
            "hb_port": 42540, "ip": "127.0.0.1", "key": "a0436f6c-1916", "transport": "tcp",
            "signature_scheme": "hmac-sha256", "kernel_name": "", "jupyter_session": "/x.ipynb"}"#;
        let info = ConnectionInfo::parse(file).unwrap();
        assert_eq!(info.endpoint(Channel::Shell), "tcp://127.0.0.1:57503");
        assert_eq!(info.endpoint(Channel::Heartbeat), "tcp://127.0.0.1:42540");
        assert_eq!(ConnectionInfo::parse(info.to_json().as_bytes()).unwrap(), info);
    }

    #[test]
    fn ipc_sockets_have_a_suffix_each() {
        let info = ConnectionInfo::ipc("/run/k/kernel", "key", "carrel");
        let endpoints = Channel::ALL.map(|channel| info.endpoint(channel));
        assert_eq!(endpoints, [1, 4, 3, 2, 5].map(|n| format!("ipc:///run/k/kernel-{n}")));
        assert!(info.to_json().contains("\"transport\": \"ipc\""));
    }

    #[test]
    fn refuses_a_scheme_it_does_not_speak() {
        let mut info = ConnectionInfo::ipc("/k", "key", "");
        info.signature_scheme = "hmac-md5".to_owned();
        assert!(matches!(
            ConnectionInfo::parse(info.to_json().as_bytes()),
            Err(WireError::UnknownScheme { scheme }) if scheme == "hmac-md5"
        ));
        assert!(ConnectionInfo::parse(b"{}").is_err());
    }
}
