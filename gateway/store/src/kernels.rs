//! Kernels and sessions: what must be adopted after a restart.
