//! The Hub's pages: plain values in, HTML out. No script, no style in the page, nothing from another host.
//!
//! Every value is escaped where it is written, by [`html::text`]. Forms carry the form token in the field `_xsrf`.

mod account;
mod frame;
mod home;
pub mod html;
mod oauth;
mod share;
mod spawn;

pub use account::{AdminPage, AdminRow, LoginPage, NewToken, TokenPage, TokenRow, admin, login, token};
pub use frame::{Frame, STYLE};
pub use home::{
    ErrorPage, HomePage, NotRunningPage, ServerRow, SharedRow, error, home, not_running, spawn_pending,
};
pub use oauth::{AuthorizePage, authorize};
pub use share::{AcceptPage, accept};
pub use spawn::{SpawnPage, spawn};
