//! What a browser is sent: the pages of the hub, and the glue around JupyterLab's shipped assets.
//!
//! Plain values in, text out: nothing here knows users, scopes, the store or HTTP. JupyterLab itself is the wheel's folder,
//! unpacked and precompressed by `deploy/lab/fetch-lab`; no code of it is changed.
//!
//! * [`files`]: a table of servable files with their types, tags and precompressed variants
//! * [`lab`]: the JupyterLab page and its federated extensions
//! * [`pages`]: the Hub's own pages: login, home, tokens, errors
//! * [`settings`]: setting schemas, an administrator's defaults and a user's own values

pub mod files;
pub mod lab;
pub mod pages;
pub mod settings;
