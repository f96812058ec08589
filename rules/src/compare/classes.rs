//! What it takes to bring something into a running system that is no module: applications by their origin, keys of the
//! configuration, files.

use super::report::{Class, FileRole};

/// What something takes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) class: Class,
    pub(super) reason: String,
    /// Whether the rest can go ahead of it.
    pub(super) waits: bool,
}

pub(super) fn judged(class: Class, reason: impl Into<String>) -> Judged {
    Judged { class, reason: reason.into(), waits: false }
}

fn waits(reason: impl Into<String>) -> Judged {
    Judged { class: Class::RestartVm, reason: reason.into(), waits: true }
}

/// The applications of OTP, those that come and go with its versions included.
const OTP: [&str; 48] = [
    "asn1",
    "common_test",
    "compiler",
    "crypto",
    "debugger",
    "dialyzer",
    "diameter",
    "edoc",
    "eldap",
    "erl_docgen",
    "erl_interface",
    "erts",
    "et",
    "eunit",
    "ftp",
    "gs",
    "hipe",
    "ic",
    "inets",
    "jinterface",
    "kernel",
    "megaco",
    "mnesia",
    "observer",
    "odbc",
    "orber",
    "cosEvent",
    "cosEventDomain",
    "cosFileTransfer",
    "cosNotification",
    "cosProperty",
    "cosTime",
    "cosTransactions",
    "os_mon",
    "otp_mibs",
    "parsetools",
    "percept",
    "public_key",
    "reltool",
    "runtime_tools",
    "sasl",
    "snmp",
    "ssh",
    "ssl",
    "stdlib",
    "syntax_tools",
    "tftp",
    "tools",
];
/// Those with other names, and those of Elixir.
const MORE: [&str; 9] = ["wx", "xmerl", "typer", "webtool", "elixir", "eex", "iex", "logger", "mix"];

/// Whether an application comes from OTP or Elixir, and is replaced with these.
pub(super) fn of_runtime(application: &str) -> Option<&'static str> {
    if matches!(application, "elixir" | "eex" | "iex" | "logger" | "mix" | "ex_unit") {
        return Some("Elixir");
    }
    (OTP.contains(&application) || MORE.contains(&application)).then_some("OTP")
}

/// A key of the configuration.
pub(super) fn config_key(application: &str, key: &str) -> Judged {
    match (application, key) {
        // The only ones that `kernel` looks at when the configuration changes.
        ("kernel", "distributed" | "global_groups") => {
            judged(Class::Hot, "kernel is told of this key when it changes")
        }
        ("kernel" | "stdlib" | "sasl", _) => {
            waits(format!("{application} reads its configuration when the virtual machine starts"))
        }
        ("logger", _) => {
            waits("Elixir's logger reads its configuration when it starts, before the applications")
        }
        ("elixir", "ansi_enabled" | "check_endianness" | "default_encoding") => {
            waits("Elixir reads this key when it starts")
        }
        _ => judged(Class::Hot, "the application environment is set, and config_change/3 called"),
    }
}

/// `runtime.exs` and the list of providers; `hot`: whether the new release is relgraph's, whose scripts evaluate them.
pub(super) fn providers(hot: bool) -> Judged {
    if hot {
        judged(Class::Hot, "the upgrade evaluates it before the configuration is set")
    } else {
        waits(
            "the release handler reads sys.config alone, and only the scripts of relgraph have more evaluated",
        )
    }
}

/// A file that is no module and no configuration.
pub(super) fn file(path: &str, role: FileRole) -> Judged {
    let name = path.rsplit('/').next().unwrap_or_default();
    match role {
        FileRole::Script if name.contains(".args") => {
            waits("arguments of the virtual machine count when it starts")
        }
        FileRole::Script if name.starts_with("env.") => {
            waits("the environment is set before the virtual machine starts")
        }
        FileRole::Script => judged(Class::Hot, "scripts are replaced when the upgrade is made permanent"),
        FileRole::Boot => judged(Class::Hot, "it belongs to one version, and comes with it"),
        FileRole::Erts => judged(Class::RestartVm, "a running virtual machine cannot be exchanged"),
        FileRole::Resource => {
            judged(Class::Hot, "the release handler reads it when it changes the application")
        }
        FileRole::Application => judged(Class::Hot, "it comes with the new folder of its application"),
        FileRole::Cookie => waits("a node takes the cookie when it starts"),
        FileRole::Other if name == "sys.config.src" || name == "sys.config" => {
            judged(Class::Hot, "the release handler sets the new configuration")
        }
        FileRole::Other => judged(Class::Hot, "nothing of a running system holds it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_application_comes_from() {
        assert_eq!(of_runtime("stdlib"), Some("OTP"));
        assert_eq!(of_runtime("logger"), Some("Elixir"));
        assert_eq!(of_runtime("xmerl"), Some("OTP"));
        assert_eq!(of_runtime("plug"), None);
    }

    #[test]
    fn settings_of_the_boot_wait() {
        let waits = |judged: Judged| (judged.class, judged.waits);
        assert_eq!(waits(config_key("app", "port")), (Class::Hot, false));
        assert_eq!(waits(config_key("kernel", "logger")), (Class::RestartVm, true));
        assert_eq!(waits(config_key("kernel", "distributed")), (Class::Hot, false));
        assert_eq!(waits(file("releases/VSN/vm.args", FileRole::Script)), (Class::RestartVm, true));
        assert_eq!(waits(file("releases/VSN/remote.vm.args", FileRole::Script)), (Class::RestartVm, true));
        assert_eq!(waits(file("releases/VSN/env.sh", FileRole::Script)), (Class::RestartVm, true));
        assert_eq!(waits(file("bin/demo", FileRole::Script)), (Class::Hot, false));
        assert_eq!(waits(file("erts-VSN/bin/beam.smp", FileRole::Erts)), (Class::RestartVm, false));
    }
}
