//! What the kernel says about itself.

use carrel_channels::KernelInfo;
use serde_json::json;

/// `kernel_info_reply`, so that editors highlight SQL.
pub(crate) fn info() -> KernelInfo {
    let version = env!("CARGO_PKG_VERSION");
    let language = json!({
        "name": "sql",
        "version": version,
        "mimetype": "text/x-sql",
        "file_extension": ".sql",
        "codemirror_mode": "sql",
        "pygments_lexer": "sql",
        "nbconvert_exporter": "script",
    });
    KernelInfo {
        implementation: "carrel".to_owned(),
        implementation_version: version.to_owned(),
        language_info: language.as_object().cloned().unwrap_or_default(),
        banner: format!(
            "Carrel SQL {version}. SHOW DATASETS lists what there is; end a statement with ; or a blank line."
        ),
        help_links: Vec::new(),
    }
}
