//! `[hdfs]`: the cluster that engines read through the broker.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[hdfs]`. Without `config` there is no cluster and no broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HdfsSettings {
    /// The folder with `core-site.xml` and `hdfs-site.xml`.
    pub config: Option<PathBuf>,
    /// Who Carrel is to the cluster.
    pub principal: Option<String>,
    /// Its keytab, readable for `user` alone.
    pub keytab: Option<PathBuf>,
    /// `krb5.conf`, if it is not the usual one.
    pub krb5: Option<PathBuf>,
    /// The user that the broker runs as.
    pub user: String,
    /// How long the cluster may be silent.
    pub timeout_seconds: u64,
    /// Names on the cluster that nobody is read as.
    pub never: Vec<String>,
    /// `[hdfs.users]`: Carrel's users whose name on the cluster is another one.
    pub users: BTreeMap<String, String>,
}

impl Default for HdfsSettings {
    fn default() -> Self {
        Self {
            config: None,
            principal: None,
            keytab: None,
            krb5: None,
            user: "carrel-broker".into(),
            timeout_seconds: 60,
            never: ["hdfs", "yarn", "mapred", "hive", "hbase", "spark", "root"].map(String::from).into(),
            users: BTreeMap::new(),
        }
    }
}

impl HdfsSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, path) in
            [("hdfs.config", &self.config), ("hdfs.keytab", &self.keytab), ("hdfs.krb5", &self.krb5)]
        {
            if path.as_ref().is_some_and(|p| !p.is_absolute()) {
                return Err(format!("{key} must be an absolute path"));
            }
        }
        if self.config.is_none() && (self.principal.is_some() || self.keytab.is_some()) {
            return Err("hdfs.config is missing: the folder with core-site.xml and hdfs-site.xml".into());
        }
        if self.principal.is_some() != self.keytab.is_some() {
            return Err("hdfs.principal and hdfs.keytab belong together: set both or none".into());
        }
        if !(1..=75).contains(&self.timeout_seconds) {
            return Err(format!(
                "hdfs.timeout_seconds must be between 1 and 75, not {}",
                self.timeout_seconds
            ));
        }
        if self.user.is_empty() || matches!(self.user.as_str(), "root" | "0") {
            return Err("hdfs.user must be an ordinary user, not root".into());
        }
        Ok(())
    }
}
