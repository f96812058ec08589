//! A real Erlang for the tests to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program (the body of `main/1`) and returns what it printed. `arguments` are its list `Args`.
pub fn run(body: &str, arguments: &[&Path]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("program");
    let text = format!(
        "#!/usr/bin/env escript\n%%! -kernel standard_io_encoding latin1\n-mode(compile).\nmain(Args) -> _ = Args,\n{body}.\n"
    );
    std::fs::write(&script, text).unwrap();
    let output = Command::new("escript").arg(&script).args(arguments).output().expect("escript is installed");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// All compiled modules of the installed Erlang and Elixir.
pub fn installed_modules() -> Vec<PathBuf> {
    let listing = run(
        r#"Lib = code:lib_dir(),
  Elixir = case os:find_executable("elixir") of false -> []; Found -> links(Found) end,
  [io:format("~ts~n", [F]) || D <- [Lib | Elixir], F <- filelib:wildcard(D ++ "/*/ebin/*.beam")]. 
links(Path) ->
  case file:read_link_all(Path) of
    {ok, To} -> links(filename:absname(To, filename:dirname(Path)));
    _ -> [filename:join(filename:dirname(filename:dirname(Path)), "lib")]
  end"#,
        &[],
    );
    let modules: Vec<PathBuf> = listing.lines().map(PathBuf::from).collect();
    assert!(modules.len() > 500, "{} modules", modules.len());
    modules
}

/// The bytes that hexadecimal digits stand for.
pub fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
