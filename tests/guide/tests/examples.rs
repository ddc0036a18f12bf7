//! The examples in docs/guide and README.md: see build.rs.

#![allow(unused, clippy::all, clippy::unwrap_used)]

include!(concat!(env!("OUT_DIR"), "/examples.rs"));
