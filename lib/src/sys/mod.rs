//! The Linux corner: what no library wraps, and every `unsafe` there is.

pub mod bits;
pub mod condition;
pub mod fds;
pub mod files;
pub mod memory;
pub mod pidfd;
pub mod process;
pub mod signals;
pub mod spawn;
pub mod startup;
pub mod terminal;
pub mod tree;
