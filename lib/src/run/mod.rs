//! Plans and runs on disk: what cl-plan and cl-run read alike.

mod earlier;
mod folder;
mod nursery;

pub use earlier::{durations, earlier};
pub use folder::{Document, fresh_name, last_line, plan_of_run, read_plan, read_text, state_folder};
pub use nursery::{Nursery, Status, serve};
