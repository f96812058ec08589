//! Applications that may use the network while they are compiled.

mod support;

use std::fs;

use support::TestSpace;
use support::hex::{Reply, Server};
use support::small::project;

/// A package that comes with nothing but the digest of what somebody compiled before.
#[test]
fn a_package_that_downloads_its_native_code() {
    let space = TestSpace::cold();
    let server = Server::new();
    server.reply("/vault.so", Reply::Bytes(b"compiled elsewhere".to_vec()));
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let deps = "app: :bank, version: \"0.1.0\", deps: [{:vault, path: \"deps/vault\"}]";
    let mix = |module: &str, says: &str| {
        format!("defmodule {module}.MixProject do\n  use Mix.Project\n  def project, do: [{says}]\nend\n")
    };
    let download = format!(
        "defmodule Vault do\n  {{:ok, s}} = :gen_tcp.connect({{127, 0, 0, 1}}, {port}, [:binary, active: false])\n  \
         :ok = :gen_tcp.send(s, \"GET /vault.so HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n\")\n  \
         {{:ok, said}} = :gen_tcp.recv(s, 0)\n  true = said =~ \"200\"\n  \
         File.mkdir_p!(Path.join(Mix.Project.app_path(), \"priv\"))\n  \
         File.write!(Path.join(Mix.Project.app_path(), \"priv/vault.so\"), \"compiled elsewhere\")\nend\n"
    );
    let project = project(
        &space,
        "bank",
        "bank",
        &[
            ("mix.exs", &mix("Bank", deps)),
            ("lib/bank.ex", "defmodule Bank do\nend\n"),
            ("deps/vault/mix.exs", &mix("Vault", "app: :vault, version: \"0.1.0\"")),
            ("deps/vault/lib/vault.ex", &download),
        ],
    );
    project.refused(1);
    project.append("release.yaml", "network: [vualt]");
    let complaint = project.refused(2);
    assert!(
        complaint.contains("release.yaml:2") && complaint.contains("did you mean `vault`?"),
        "{complaint}"
    );
    project.edit("release.yaml", "vualt", "vault");
    let release = project.build().release();
    let brought = fs::read_to_string(release.join("lib/vault-0.1.0/priv/vault.so")).expect("a file");
    assert_eq!(brought, "compiled elsewhere");
    project.build().assert_nothing_to_do();
}
