//! Bringing files to the disk without anybody waiting for the disk.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug)]
enum Task {
    Sync(String, Arc<File>),
    /// Somebody waits for all that was asked before.
    Answer(SyncSender<()>),
}

/// A thread that brings files to the disk.
#[derive(Debug)]
pub struct Syncer {
    sender: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Vec<(String, io::Error)>>>,
}

impl Syncer {
    /// A thread with nothing to do.
    pub fn start() -> Self {
        // The bound keeps the number of files that are only open to be synced small.
        let (sender, tasks) = sync_channel(16);
        let failed = Arc::new(Mutex::new(Vec::new()));
        let list = failed.clone();
        let thread = std::thread::spawn(move || {
            for task in tasks {
                match task {
                    Task::Sync(name, file) => {
                        if let Err(error) = file.sync_data() {
                            list.lock().unwrap_or_else(PoisonError::into_inner).push((name, error));
                        }
                    }
                    Task::Answer(asker) => drop(asker),
                }
            }
        });
        Self {
            sender: Some(sender),
            thread: Some(thread),
            failed,
        }
    }

    /// Brings to the disk what has been written to a file up to now.
    pub fn sync(&self, name: &str, file: &Arc<File>) {
        if let Some(sender) = &self.sender {
            // The thread ends only when the sender is gone.
            let _ = sender.send(Task::Sync(name.to_owned(), file.clone()));
        }
    }

    /// Waits until no file is open any more only to be brought to the disk.
    pub(super) fn settle(&self) {
        let (asker, answer) = sync_channel(0);
        if let Some(sender) = &self.sender
            && sender.send(Task::Answer(asker)).is_ok()
        {
            let _ = answer.recv();
        }
    }

    /// Waits until all is on the disk; says what is not.
    pub fn finish(&mut self) -> Vec<(String, io::Error)> {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        std::mem::take(&mut self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
