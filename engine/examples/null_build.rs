//! How long it takes to see that nothing moved: 20 000 files in 400 folders, cold process by process.
//!
//! `cargo run --release -p relgraph-engine --example null_build [FOLDER]`

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use relgraph_cache::Digest;
use relgraph_engine::State;
use relgraph_engine::state::{Freshness, take_stamps};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if first.as_deref().is_some_and(|word| word == "check") {
        return check(PathBuf::from(arguments.next().ok_or("check FILE")?));
    }
    let made = tempfile::tempdir()?;
    let root = first.map_or(made.path().to_owned(), PathBuf::from);
    let mut paths = Vec::new();
    for folder in 0..400 {
        let folder = format!("apps/app{:02}/lib/area{folder:03}", folder % 20);
        std::fs::create_dir_all(root.join(&folder))?;
        for file in 0..50 {
            let path = format!("{folder}/module_{file:02}.ex");
            std::fs::write(root.join(&path), "defmodule M do\nend\n")?;
            paths.push(path);
        }
    }
    let (taken_ns, entries) = take_stamps(&root, paths)?;
    let digest = Digest::of(b"");
    let state =
        State { identity: digest, request: digest, root, taken_ns, entries, env: vec![], summary: vec![] };
    let file = state.root.join("state");
    state.save(&file)?;
    println!("{} entries, {} bytes", state.entries.len(), std::fs::metadata(&file)?.len());
    let exe = std::env::current_exe()?;
    for _ in 0..10 {
        let began = Instant::now();
        let output = std::process::Command::new(&exe).arg("check").arg(&file).output()?;
        println!("{} process {:.1?}", String::from_utf8_lossy(&output.stdout).trim_end(), began.elapsed());
    }
    Ok(())
}

fn check(file: PathBuf) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let state = State::load(&file).ok_or("no state")?;
    let loaded = began.elapsed();
    let fresh = state.is_fresh(&BTreeMap::new());
    let whole: Duration = began.elapsed();
    if fresh != Freshness::Fresh {
        return Err(format!("{fresh:?}").into());
    }
    print!("load {loaded:.1?} stat {:.1?} together {whole:.1?}", whole - loaded);
    Ok(())
}
