//! File work that is given up when nothing happens any more: a file server that is gone holds its callers for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::remote::{RemoteError, RemoteErrorKind, runtime};

/// How far some work has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// So many bytes more.
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does blocking work on another thread, and leaves it alone when there was no progress for `limit`.
pub(super) async fn within<T: Send + 'static>(
    limit: Duration,
    progress: &Progress,
    work: impl FnOnce(&Progress) -> Result<T, RemoteError> + Send + 'static,
) -> Result<T, RemoteError> {
    let theirs = progress.clone();
    let mut task = runtime::runtime().spawn_blocking(move || work(&theirs));
    loop {
        let before = progress.get();
        match tokio::time::timeout(limit, &mut task).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => {
                return Err(RemoteError::new(RemoteErrorKind::Local, "a thread that works on files failed"));
            }
            Err(_) if progress.get() != before => {}
            Err(_) => {
                let why = format!("the shared folder did not answer within {limit:?}");
                return Err(RemoteError::new(RemoteErrorKind::Timeout, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread::sleep;

    use super::*;

    #[test]
    fn who_does_not_get_on_is_left_alone_and_who_does_is_not() {
        let limit = Duration::from_millis(200);
        let (_never, hangs) = channel::<()>();
        let progress = Progress::default();
        let stuck = within(limit, &progress, move |_| {
            let _ = hangs.recv();
            Ok(())
        });
        assert_eq!(runtime::wait(stuck).unwrap_err().kind, RemoteErrorKind::Timeout);
        let slow = within(limit, &progress, |progress| {
            for _ in 0..40 {
                sleep(Duration::from_millis(20));
                progress.add(1);
            }
            Ok(7)
        });
        assert_eq!(runtime::wait(slow), Ok(7));
        let panics = within(limit, &progress, |_| -> Result<(), RemoteError> { panic!("as it should") });
        assert_eq!(runtime::wait(panics).unwrap_err().kind, RemoteErrorKind::Local);
    }
}
