//! The gateway: everything between the network and the sandboxed programs, except privileges.
//!
//! A request comes in through [`http`], which names it, logs it and finds its group of routes:
//!
//! * [`api`]: the Hub's REST API under `/hub/api`
//! * [`pages`]: HTML under `/hub`
//! * [`user`]: everything under `/user/{name}`; checks who may enter, then hands over to [`server`]
//! * [`server`]: the Jupyter Server API, JupyterLab's pages, websockets
//!
//! Handlers share [`app::App`]. Who calls and what for is settled by [`caller`] before a handler runs; what goes wrong is an
//! [`error::Error`], turned into the shape of its route group in one place. [`kernels`] owns the kernels, [`servers`] the users' servers,
//! [`store`] the database thread, [`spawnd`] the connection to the privileged helper. [`start`] and [`cli`] are the program around it.

pub mod accounts;
pub mod api;
pub mod app;
pub mod caller;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cookies;
pub mod error;
pub mod guests;
pub mod http;
pub mod jailed;
pub mod kernels;
pub mod lifecycle;
pub mod memory;
pub mod metrics;
pub mod pages;
pub mod server;
pub mod servers;
pub mod services;
pub mod settings;
pub mod spawnd;
pub mod start;
pub mod store;
pub mod telemetry;
pub mod throttle;
pub mod user;
