//! Words and rules of the Hub: names, scopes, roles, tokens and the life of a server.
//!
//! Everything here is a pure function of its arguments. The crate knows neither HTTP nor SQL nor processes, and it never asks the
//! clock: whoever needs the time passes it in.
//!
//! * [`name`]: user, server, group and service names, parsed once and then known to be well formed;
//! * [`scope`]: what a caller may do, to whom (`servers!user=ada`), expansion and intersection;
//! * [`role`]: the default roles, the administrator's, and their scopes;
//! * [`oauth`]: what an OAuth client may ask for, and what it gets;
//! * [`token`]: the format of secrets, how they are kept, when they end;
//! * [`server`]: the states of a user's server and the one function that moves between them.

pub mod name;
pub mod oauth;
pub mod role;
pub mod scope;
pub mod server;
pub mod token;

pub use name::{GroupName, NameError, ServerName, ServiceName, UserName};
pub use role::{Role, Roles};
pub use scope::{Filter, Issuer, Owner, Reach, Scope, ScopeError, ScopeSet, Target, Whose};
pub use server::{Action, Event, Refused, ServerState};
pub use token::{Secret, SecretHash};
