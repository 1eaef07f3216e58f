//! Services: programs beside the hub that it knows by name, and whose pages it shows below `/services/{name}/`.
//!
//! * [`spec`]: what is said about a service, by the configuration or through the API, checked
//! * [`upstream`]: the address that its pages are fetched from
//! * [`configured`]: the services of the configuration, with their tokens
//! * [`managed`]: those of the configuration that have a command
//! * [`proxy`]: requests and websockets that go there

pub mod configured;
pub mod managed;
pub mod proxy;
pub mod spec;
pub mod upstream;
