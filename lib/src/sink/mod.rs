//! Where lines go.

mod shared;

pub use shared::Shared;
