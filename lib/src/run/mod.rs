//! Plans and runs on disk: where they lie, how they are read, which one is meant.

mod earlier;
mod find;
mod folder;
mod kept;
mod nursery;

pub use earlier::{durations, earlier, filled_up};
pub use find::{find, newest};
pub use folder::{
    Document, HELD, JOURNAL, exit_of, fresh_name, last_line, last_seq, plan_of_run, read_plan, read_text, runs_folder,
    state_folder,
};
pub use kept::{Kept, News, resume, way_out};
pub use nursery::{Nursery, Status, serve};
