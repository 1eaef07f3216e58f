//! The channels of a kernel, by name, by number and by default port.

use std::fmt;

/// A Jupyter channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Requests that run one after the other: execute, complete, inspect …
    Shell,
    /// Requests that must not wait behind the shell: interrupt, shutdown, debug.
    Control,
    /// Questions of the kernel to the one who asked it to run something.
    Stdin,
    /// What the kernel tells everyone.
    Iopub,
    /// Echo of bytes; not carried over websockets.
    Heartbeat,
}

impl Channel {
    /// All channels, in the order of [`Channel::code`].
    pub const ALL: [Channel; 5] =
        [Channel::Shell, Channel::Control, Channel::Stdin, Channel::Iopub, Channel::Heartbeat];

    /// The name used in websocket messages and connection files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Channel::Shell => "shell",
            Channel::Control => "control",
            Channel::Stdin => "stdin",
            Channel::Iopub => "iopub",
            Channel::Heartbeat => "hb",
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// A stable small number: 0 shell, 1 control, 2 stdin, 3 iopub, 4 heartbeat.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The channel of that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Channel> {
        Channel::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Channel;

    #[test]
    fn names_and_codes_lead_back() {
        for channel in Channel::ALL {
            assert_eq!(Channel::from_name(channel.name()), Some(channel));
            assert_eq!(Channel::from_code(channel.code()), Some(channel));
        }
        assert_eq!(Channel::from_name("Shell"), None);
        assert_eq!(Channel::from_code(5), None);
    }
}
