//! Where lines go.

mod backlog;
mod bell;
mod bells;
mod file;
mod folder;
mod gaps;
mod lines;
mod lock;
mod outlet;
mod queue;
mod rotate;
mod shared;
mod spill;
mod split;
mod sync;
pub mod target;
mod window;

pub use bell::Bell;
pub use bells::{Bells, Rope, Rung};
pub use file::FileSink;
pub use folder::Folder;
pub use outlet::{Outlet, Wrote};
pub use queue::{Limits, Policy, Queue, Relief};
pub use rotate::Rotation;
pub use shared::Shared;
pub use split::{NO_STREAM, Split, SplitOptions};
pub use sync::Syncer;
pub use target::Target;
pub use window::Window;
