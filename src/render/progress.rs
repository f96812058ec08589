//! A build while it runs: a live view on a terminal, plain lines elsewhere, nothing when quiet.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use relgraph_engine::{Observer, Outcome, Reason};

use super::reason::told;
use crate::cli::Context;

/// Shows what happens.
pub struct Progress {
    view: View,
    state: Mutex<State>,
}

enum View {
    Nothing,
    Lines,
    Live(MultiProgress),
}

#[derive(Default)]
struct State {
    planned: u64,
    done: u64,
    total: Option<ProgressBar>,
    running: BTreeMap<String, ProgressBar>,
    /// What the steps that are not over took in the last build, in milliseconds.
    left: BTreeMap<String, u64>,
    jobs: u64,
}

impl State {
    /// From the last build's times: what a step takes whose result is known counts until it is found.
    fn estimate(&self) -> String {
        let seconds = self.left.values().sum::<u64>() / self.jobs.max(1) / 1000;
        if seconds == 0 { String::new() } else { format!("about {seconds} s left") }
    }
}

impl Progress {
    /// For a build of steps that took so many milliseconds the last time, `jobs` at once.
    pub fn new(context: &Context, times: BTreeMap<String, u64>, jobs: usize) -> Progress {
        let view = if context.global.quiet || context.json() {
            View::Nothing
        } else if std::io::stderr().is_terminal() {
            View::Live(MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)))
        } else {
            View::Lines
        };
        let state = State { left: times, jobs: jobs as u64, ..State::default() };
        Progress { view, state: Mutex::new(state) }
    }

    /// Clears the live view.
    pub fn finish(&self) {
        if let View::Live(live) = &self.view {
            // The terminal is left as it is where it cannot be cleared.
            let _ = live.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Nothing => {}
            View::Lines => super::tell(text),
            View::Live(live) => {
                let _ = live.println(text);
            }
        }
    }
}

impl Observer for Progress {
    fn planned(&self, steps: usize) {
        let mut state = self.state();
        state.planned += steps as u64;
        let planned = state.planned;
        if let View::Live(live) = &self.view {
            let total = state.total.get_or_insert_with(|| {
                let bar = live.add(ProgressBar::new(0));
                let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps {elapsed} {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            total.set_length(planned);
            total.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn started(&self, step: &str, expected_ms: Option<u64>) {
        let mut state = self.state();
        if let View::Live(live) = &self.view {
            let bar = live.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            let estimate = expected_ms.filter(|ms| *ms >= 1000).map(|ms| format!(" (~{} s)", ms / 1000));
            bar.set_message(format!("{step}{}", estimate.unwrap_or_default()));
            bar.enable_steady_tick(Duration::from_millis(100));
            state.running.insert(step.to_owned(), bar);
        }
    }

    fn finished(&self, step: &str, outcome: Outcome, reason: Option<&Reason>, duration: Duration) {
        let mut state = self.state();
        state.done += 1;
        state.left.remove(step);
        if let Some(bar) = state.running.remove(step) {
            bar.finish_and_clear();
        }
        if let Some(total) = &state.total {
            total.set_position(state.done);
            total.set_message(state.estimate());
        }
        drop(state);
        if matches!(outcome, Outcome::Ran | Outcome::Dup | Outcome::Failed) {
            let why = match (outcome, reason) {
                (Outcome::Failed, _) | (_, None) => String::new(),
                (_, Some(reason)) => format!(": {}", told(reason)),
            };
            let word = if outcome == Outcome::Failed { "failed" } else { "ran" };
            self.line(&format!("{word:>6} {step} {:.2} s{why}", duration.as_secs_f64()));
        }
    }

    fn warning(&self, message: &str) {
        if !matches!(self.view, View::Nothing) {
            self.line(&format!("warning: {message}"));
        }
    }
}
