//! What the cl tools share: how several agents' output becomes one stream, and how a stream is read.
//!
//! `ARCHITECTURE.md` shows how a byte travels through these modules.

pub mod agent;
pub mod cli;
pub mod frame;
pub mod hold;
pub mod line;
pub mod manual;
pub mod outcome;
pub mod plan;
pub mod policy;
pub mod replay;
pub mod role;
pub mod run;
pub mod sink;
pub mod source;
pub mod state;
pub mod sys;
pub mod timeline;
pub mod units;
pub mod view;
pub mod worker;
