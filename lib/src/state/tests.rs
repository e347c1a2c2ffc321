//! The fold, on lines as the tools write them.
