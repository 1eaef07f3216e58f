//! `[limits.*]` and `[[limit]]`: bounds of jails, as an administrator writes them and as spawnd takes them.

use super::text::{self, some_size};
use carrel_spawnd::limits::{Change, Of, Rule, Together, Who};
use carrel_spawnd::{LimitTables, Limits as JailLimits};
use serde::{Deserialize, Deserializer, de};

/// `[limits]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of a kernel's jail.
    pub kernel: Limit,
    /// Of a desk's jail.
    pub desk: Limit,
    /// Of an engine's jail.
    pub engine: Limit,
    /// Of a classic server's jail.
    pub classic: Limit,
    /// Of a service's jail.
    pub service: Limit,
    /// Of all jails of a user together.
    pub together: Limit,
}

/// The bounds of a kind of jail; what is not set keeps the sandbox's default. (Which keys a table may have is in [`super::keys`].)
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Memory.
    #[serde(deserialize_with = "some_size")]
    pub memory: Option<u64>,
    /// Swap on top of that.
    #[serde(deserialize_with = "some_size")]
    pub swap: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
    /// Processors; 0 is no limit.
    pub cpus: Option<f64>,
    /// Share of a busy disk.
    pub io_weight: Option<u32>,
    /// Descriptors a process may hold.
    pub descriptors: Option<u64>,
    /// Size of `/tmp`.
    #[serde(deserialize_with = "some_size")]
    pub tmp: Option<u64>,
    /// Size of `/dev/shm`.
    #[serde(deserialize_with = "some_size")]
    pub shm: Option<u64>,
    /// Files in each of the two.
    pub files: Option<u64>,
    /// The largest file.
    #[serde(deserialize_with = "some_size")]
    pub file: Option<u64>,
    /// How long the jail may live.
    #[serde(deserialize_with = "some_duration")]
    pub wall: Option<u64>,
    /// Disk space of the home.
    #[serde(deserialize_with = "some_size")]
    pub disk: Option<u64>,
    /// Files in the home.
    pub disk_files: Option<u64>,
}

impl Limit {
    fn change(&self) -> Change {
        Change {
            memory_bytes: self.memory,
            swap_bytes: self.swap,
            pids: self.processes,
            cpu: self.cpus,
            io_weight: self.io_weight,
            fds: self.descriptors,
            tmp_bytes: self.tmp,
            shm_bytes: self.shm,
            tmp_inodes: self.files,
            file_bytes: self.file,
            wall_seconds: self.wall,
            disk_bytes: self.disk,
            disk_files: self.disk_files,
        }
    }
}

/// `[[limit]]`: what a user or a group has instead.
#[derive(Debug, Clone, Deserialize)]
pub struct LimitRule {
    /// The user, by name.
    pub user: Option<String>,
    /// The group, by name.
    pub group: Option<String>,
    /// What the bounds are of.
    pub of: Of,
    /// The bounds.
    #[serde(flatten)]
    pub limit: Limit,
}

impl LimitRule {
    /// As spawnd takes it.
    fn rule(&self) -> Result<Rule, String> {
        let who = match (&self.user, &self.group) {
            (Some(user), None) => {
                let user = carrel_hub::UserName::parse(user).map_err(|e| format!("[[limit]] user: {e}"))?;
                Who::User(user.escaped().parse().map_err(|e| format!("[[limit]] user: {e}"))?)
            }
            (None, Some(group)) => Who::Group(group.parse().map_err(|e| format!("[[limit]] group: {e}"))?),
            _ => return Err("every [[limit]] needs either a user or a group".into()),
        };
        Ok(Rule { who, of: self.of, change: self.limit.change() })
    }
}

/// All bounds, as spawnd takes them.
pub fn tables(limits: &Limits, rules: &[LimitRule]) -> Result<LimitTables, String> {
    let with = |base: JailLimits, limit: &Limit| base.with(&limit.change());
    Ok(LimitTables {
        kernel: with(JailLimits::kernel(), &limits.kernel),
        desk: with(JailLimits::desk(), &limits.desk),
        engine: with(JailLimits::engine(), &limits.engine),
        classic: with(JailLimits::classic(), &limits.classic),
        service: with(JailLimits::service(), &limits.service),
        together: Together::default().with(&limits.together.change()),
        rules: rules.iter().map(LimitRule::rule).collect::<Result<_, _>>()?,
    })
}

/// What would make a jail useless, or is no number at all.
pub(super) fn check(limits: &Limits, rules: &[LimitRule]) -> Result<(), String> {
    tables(limits, rules)?;
    let named = [
        ("kernel", &limits.kernel),
        ("desk", &limits.desk),
        ("engine", &limits.engine),
        ("classic", &limits.classic),
        ("service", &limits.service),
        ("together", &limits.together),
    ];
    let all = named.into_iter().map(|(name, limit)| (format!("limits.{name}"), limit));
    for (name, limit) in all.chain(rules.iter().map(|rule| ("[[limit]]".to_owned(), &rule.limit))) {
        let least = |key: &str, value: Option<u64>, least: u64| match value {
            Some(value) if value < least && value != 0 => {
                Err(format!("{name}: {key} must be at least {least}, not {value}"))
            }
            _ => Ok(()),
        };
        least("memory", limit.memory, 32 << 20)?;
        least("processes", limit.processes, 8)?;
        least("descriptors", limit.descriptors.filter(|n| *n > 0).or(limit.descriptors.map(|_| 1)), 64)?;
        least("wall", limit.wall, 60)?;
        least("disk", limit.disk, 1 << 20)?;
        if limit.cpus.is_some_and(|cpus| !cpus.is_finite() || cpus < 0.0 || (cpus > 0.0 && cpus < 0.01)) {
            return Err(format!("{name}: cpus must be 0 (no limit) or at least 0.01"));
        }
        if limit.io_weight.is_some_and(|weight| !(1..=10_000).contains(&weight)) {
            return Err(format!("{name}: io_weight must be between 1 and 10000"));
        }
    }
    Ok(())
}

fn some_duration<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Duration {
        Seconds(u64),
        Text(String),
    }
    match Duration::deserialize(d)? {
        Duration::Seconds(n) => Ok(Some(n)),
        Duration::Text(t) => text::parse_duration(&t)
            .map(Some)
            .ok_or_else(|| de::Error::custom(format!("{t:?} is not a time such as \"8h\""))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;
    use std::path::Path;

    fn parse(text: &str) -> Result<LimitTables, String> {
        let config = Config::parse(text, Path::new("/state"))?;
        tables(&config.limits, &config.limit_rules)
    }

    #[test]
    fn tables_and_rules_become_what_spawnd_takes() {
        let text = "[limits.kernel]\nmemory = \"3GiB\"\ncpus = 0\nwall = \"8h\"\n[limits.together]\ndisk = \"10GiB\"\nprocesses = 1000\n\
                    [[limit]]\ngroup = \"ml team\"\nof = \"kernel\"\nmemory = \"16GiB\"\n[[limit]]\nuser = \"Ada L\"\nof = \"together\"\ndisk = 0\n";
        let tables = parse(text).unwrap();
        assert_eq!((tables.kernel.memory_bytes, tables.kernel.cpu), (Some(3 << 30), None));
        assert_eq!(tables.kernel.wall_seconds, Some(8 * 3600));
        assert_eq!(tables.kernel.fds, JailLimits::kernel().fds);
        assert_eq!((tables.together.disk_bytes, tables.together.pids), (Some(10 << 30), Some(1000)));
        let ada = carrel_hub::UserName::parse("Ada L").unwrap().escaped().parse().unwrap();
        assert_eq!(tables.together(&ada, &[]).disk_bytes, None);
        let groups = ["ml team".parse().unwrap()];
        assert_eq!(
            tables.of_jail(carrel_spawnd::limits::JailKind::Kernel, &ada, &groups).memory_bytes,
            Some(16 << 30)
        );
        assert_eq!(parse("").unwrap(), LimitTables::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("[limits.kernel]\nmemory = 5", "limits.kernel: memory must be at least"),
            ("[limits.desk]\ndisk = 5", "unknown key disk in [limits.desk]"),
            ("[limits.together]\ntmp = 5", "unknown key tmp in [limits.together]"),
            ("[limits.kernel]\nwall = \"soon\"", "\"soon\" is not a time"),
            ("[limits.kernel]\ncpus = -1.0", "cpus must be 0"),
            ("[limits.classic]\nprocesses = 2", "limits.classic: processes must be at least"),
            ("[[limit]]\nof = \"kernel\"", "needs either a user or a group"),
            ("[[limit]]\nuser = \"a\"\ngroup = \"b\"\nof = \"desk\"", "needs either a user or a group"),
            ("[[limit]]\nuser = \"a\"\nof = \"moon\"", "unknown variant"),
            ("[[limit]]\nuser = \"a\"\nof = \"desk\"\nmem = 5", "unknown key mem in [limit]"),
            ("[[limit]]\nuser = \"a\"\nof = \"desk\"\nio_weight = 0", "io_weight must be between"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.contains(want), "{text:?}: {got}");
        }
    }
}
