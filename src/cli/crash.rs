//! What the user sees when relgraph itself is broken.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use super::exit;
use crate::render::tell;

/// The last panic, wherever it was. Most are caught: one in a step makes that step fail.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs the command; a panic that nobody caught ends in a short message.
pub fn guarded(command: fn() -> ExitCode) -> ExitCode {
    let usual = std::panic::take_hook();
    let wordy = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    std::panic::set_hook(Box::new(move |info| {
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(described(info));
        if wordy {
            usual(info);
        }
    }));
    std::panic::catch_unwind(command).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
        tell(&message(last.as_deref()));
        exit::FAILED
    })
}

fn described(info: &PanicHookInfo<'_>) -> String {
    let what = said(info.payload());
    match info.location() {
        Some(place) => format!("{what} ({}:{})", place.file(), place.line()),
        None => what,
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

fn message(last: Option<&str>) -> String {
    format!(
        "error: this is a bug in relgraph {}: {}\n\
         hint: the last good release and the store are as they were; please report it with what you did, and with what \
         RUST_BACKTRACE=1 adds",
        env!("CARGO_PKG_VERSION"),
        last.unwrap_or("no message")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_called_a_bug() {
        let text = message(Some("index out of bounds (src/x.rs:1)"));
        assert!(text.starts_with("error: this is a bug in relgraph "));
        assert!(text.contains("index out of bounds (src/x.rs:1)\nhint: "));
        let caught = std::panic::catch_unwind(|| std::panic::panic_any(7)).unwrap_err();
        assert_eq!(said(&*caught), "no message");
    }
}
