//! The threads on which the store copies, hashes and stats: a rayon pool of its own.
//!
//! The pool is private for a reason. A caller may be a worker of another pool whose threads wait for child processes; a
//! `par_iter` there would let this call steal such a job and return minutes later. And nothing that runs here ever waits
//! for anything but the disk, so calls from anywhere cannot deadlock.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();

/// Runs `work` so that the rayon calls in it use the store's pool.
pub(crate) fn parallel<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let pool = POOL
        .get_or_init(|| ThreadPoolBuilder::new().thread_name(|n| format!("relgraph-store-{n}")).build().ok());
    let Some(pool) = pool else { return work() };
    if pool.current_thread_index().is_some() {
        return work();
    }
    if rayon::current_thread_index().is_none() {
        return pool.install(work);
    }
    // A worker of another pool would steal jobs of that pool while it waits in `install`; a plain thread does not.
    std::thread::scope(|scope| match scope.spawn(|| pool.install(work)).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
