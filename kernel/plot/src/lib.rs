//! Plots of the cell language: what stands after `VISUALISE` is read, the engine is asked for as few rows as the picture needs, and
//! the picture is written as a Vega-Lite v5 document and as a PNG image of the same content.
//! The grammar is ggsql's, after its documentation. Pure: no sockets, no clock, no randomness.
//!
//! * [`grammar`]: text to [`spec::Spec`], every problem with its place
//! * [`layer`]: one layer as a machine that asks for frames and ends with rows; [`query`] writes its SQL
//! * [`chart`]: layers, positions and scales put together
//! * [`vega`], [`picture`]: the two writers

pub mod aesthetic;
pub mod chart;
pub mod frame;
pub mod geom;
pub mod grammar;
pub mod layer;
pub mod palette;
pub mod picture;
pub mod query;
pub mod scale;
pub mod spec;
pub mod vega;
