//! The threads on which everything asynchronous happens: started at first use, apart from the engine's.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::Runtime;

/// Waits for a future. Must not be called from the runtime's own threads.
///
/// # Panics
/// When the system gives no threads at all.
pub fn wait<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

/// The runtime, for what spawns tasks.
///
/// # Panics
/// When the system gives no threads at all.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("relgraph-net")
            .enable_all()
            .build()
            .expect("the system gives no threads")
    })
}
