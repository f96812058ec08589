//! Native files run on the machines that the release is for, and modules that load some have them.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use relgraph_engine::StepError;

use super::release::Module;
use super::{Finding, Kind, Release, Weight, module_name};
use crate::beam_file::{self, BeamFile};
use crate::native::{Format, Libc, Misfit, NativeFile, Target, Version, fit, is_everywhere};

pub(super) fn look(release: &Release<'_>) -> Result<Vec<Finding>, StepError> {
    let mut findings = fits(release);
    findings.extend(without_file(release)?);
    Ok(findings)
}

/// A native file of a release.
#[derive(Clone, Copy)]
struct Found<'a> {
    path: &'a str,
    application: Option<&'a str>,
    file: &'a NativeFile,
}

impl Found<'_> {
    /// `the native file priv/x.so of the application bcrypt`.
    fn name(&self) -> String {
        match self.application {
            Some(app) => {
                let inside = self.path.splitn(3, '/').nth(2).unwrap_or(self.path);
                format!("the native file {inside} of the application {app}")
            }
            None => format!("the native file {}", self.path),
        }
    }

    fn finding(&self, kind: Kind, message: String) -> Finding {
        let finding = Finding::new(kind, message).file(self.path);
        match self.application {
            Some(app) => finding.of(app),
            None if self.path.starts_with("erts-") => finding.of("erts"),
            None => finding,
        }
    }
}

fn fits(release: &Release<'_>) -> Vec<Finding> {
    let all: Vec<Found<'_>> = release
        .natives
        .iter()
        .map(|(path, (application, file))| Found { path, application: application.as_deref(), file })
        .collect();
    let of_runtime = |found: &Found<'_>| found.path.starts_with("erts-");
    let emulator = ["beam.smp", "beam.jit", "beam", "erlexec"].iter().find_map(|name| {
        all.iter().find(|found| of_runtime(found) && found.path.ends_with(&format!("/{name}")))
    });
    let said = &release.around.target;
    let mut target = said.clone();
    let source = match (emulator, &release.around.machine) {
        (Some(emulator), _) => {
            target = target.or_of(emulator.file);
            emulator.path.split('/').next().unwrap_or_default().to_owned()
        }
        (None, Some(machine)) => {
            target = target.or_of(machine);
            "the Erlang that builds it".to_owned()
        }
        (None, None) => String::new(),
    };
    // Where the runtime was made elsewhere, the machines have at least the C library that it asks for.
    let mut supposed = None;
    if target.ceiling.is_none() && release.around.foreign {
        let newest =
            all.iter().filter(|found| release.part_of(found).is_none()).filter_map(|found| found.file.glibc);
        supposed = newest.max();
        target.ceiling = supposed;
    }
    let mut findings = Vec::new();
    let mut too_new: BTreeMap<&str, Vec<(Found<'_>, Version)>> = BTreeMap::new();
    for found in &all {
        match fit(found.file, &target) {
            None => {}
            Some(Misfit::Glibc(version)) => {
                let owner = found.application.unwrap_or(if of_runtime(found) { "erts" } else { "" });
                too_new.entry(owner).or_default().push((*found, version));
            }
            Some(misfit) => findings.push(wrong(found, &all, &misfit, &target, said, &source)),
        }
    }
    findings.extend(too_new.values().map(|files| newer(files, &target, supposed)));
    findings.extend(libraries(release, &all, &target));
    findings
}

impl Release<'_> {
    fn part_of(&self, found: &Found<'_>) -> Option<&super::Part> {
        self.part(found.application?)
    }
}

fn wrong(
    found: &Found<'_>,
    all: &[Found<'_>],
    misfit: &Misfit,
    target: &Target,
    said: &Target,
    source: &str,
) -> Finding {
    let is_for = match misfit {
        Misfit::System(format) => format.systems().to_owned(),
        Misfit::Architecture(arch) => arch.clone(),
        Misfit::Libc(libc) => format!("machines with {}", libc.name()),
        Misfit::Glibc(version) => format!("machines with the GNU C library {version}"),
    };
    let wanted = match misfit {
        Misfit::System(_) => Format::Elf.systems().to_owned(),
        Misfit::Architecture(_) => target.arch.clone().unwrap_or_default(),
        _ => target.libc.map_or_else(String::new, |libc| format!("machines with {}", libc.name())),
    };
    let given = match misfit {
        Misfit::Architecture(_) => said.arch.is_some(),
        Misfit::Libc(_) => said.libc.is_some(),
        _ => false,
    };
    let because = if given { "`runtime.target`".to_owned() } else { source.to_owned() };
    let because = if because.is_empty() || matches!(misfit, Misfit::System(_)) {
        String::new()
    } else {
        format!(" ({because})")
    };
    let message = format!("{} is for {is_for}, and the release is for {wanted}{because}", found.name());
    // Packages bring the same library for several systems, and take the one that fits.
    let sibling = all.iter().any(|other| {
        other.application == found.application
            && other.application.is_some()
            && other.file.shared == found.file.shared
            && fit(other.file, target).is_none()
    });
    let of_other_system = [".exe", ".dll", ".dylib"].iter().any(|end| found.path.ends_with(end));
    let aside = sibling || (matches!(misfit, Misfit::System(_)) && of_other_system);
    let hint = match misfit {
        Misfit::Architecture(_) => {
            "build it for the release's architecture (`env: {CC: …}` in release.yaml names a cross compiler), or build the \
             release on such a machine"
        }
        Misfit::Libc(Libc::Gnu) => "build it against musl, for example in an Alpine container",
        Misfit::Libc(Libc::Musl) => "build it against the GNU C library, for example in a Debian container",
        _ => "build it on the system that the release is for",
    };
    let finding = found.finding(Kind::Native, message).about(is_for).hint(hint);
    finding.weight(if aside { Weight::Aside } else { Weight::Certain })
}

/// Files of one application that ask for a newer C library than the machines have.
fn newer(files: &[(Found<'_>, Version)], target: &Target, supposed: Option<Version>) -> Finding {
    let (found, version) = files
        .iter()
        .max_by(|(a, one), (b, other)| one.cmp(other).then_with(|| b.path.cmp(a.path)))
        .copied()
        .unwrap_or(files[0]);
    let more = match files.len() - 1 {
        0 => String::new(),
        1 => ", as does another one".to_owned(),
        more => format!(", as do {more} others"),
    };
    let ceiling = target.ceiling.map(|ceiling| ceiling.to_string()).unwrap_or_default();
    let against = if supposed.is_some() {
        format!("the runtime of the release with {ceiling}")
    } else {
        format!("the release is for {ceiling}")
    };
    let message = format!("{} asks for the GNU C library {version}{more}, and {against}", found.name());
    let hint = format!(
        "build it on a system with the GNU C library {ceiling} or older, or name the machines that it is for \
         (`runtime: {{target: …}}`)"
    );
    let finding = found.finding(Kind::Native, message).about(format!("GLIBC_{version}")).hint(hint);
    finding.weight(if supposed.is_some() { Weight::Likely } else { Weight::Certain })
}

/// Libraries that are neither everywhere nor in the release. What Erlang's own files ask for is asked for already.
fn libraries(release: &Release<'_>, all: &[Found<'_>], target: &Target) -> Vec<Finding> {
    let names: BTreeSet<&str> =
        release.nodes.keys().map(|path| path.rsplit('/').next().unwrap_or_default()).collect();
    let asked: BTreeSet<&String> = all
        .iter()
        .filter(|found| release.part_of(found).is_none())
        .flat_map(|found| &found.file.needed)
        .collect();
    let mut findings = Vec::new();
    for found in all.iter().filter(|found| fit(found.file, target).is_none()) {
        for library in &found.file.needed {
            if is_everywhere(library) || names.contains(library.as_str()) {
                continue;
            }
            let message = format!("{} needs {library}, which is not in the release", found.name());
            let aside = release.part_of(found).is_none() || asked.contains(library);
            findings.push(
                found
                    .finding(Kind::Libraries, message)
                    .about(library)
                    .hint("install it on the machines that run the release, or bring it in an overlay beside the file")
                    .weight(if aside { Weight::Aside } else { Weight::Certain }),
            );
        }
    }
    findings
}

/// Modules that load native code when they are loaded, in an application that has none. Where the file could be anywhere else
/// (the module names an application that has one, or one lies in no application), nothing is said.
fn without_file(release: &Release<'_>) -> Result<Vec<Finding>, StepError> {
    let owners: BTreeSet<Option<&str>> = release
        .natives
        .iter()
        .filter(|(path, _)| !path.starts_with("erts-"))
        .map(|(_, (application, _))| application.as_deref())
        .collect();
    if owners.contains(&None) {
        return Ok(Vec::new());
    }
    let load = ("erlang", "load_nif", 2);
    let suspects: Vec<&Module> = release
        .modules
        .iter()
        .filter(|module| module.application.as_deref().is_some_and(|app| release.part(app).is_some()))
        .filter(|module| !owners.contains(&module.application.as_deref()))
        .filter(|module| module.links.imports.iter().any(|(m, f, a)| (m.as_str(), f.as_str(), *a) == load))
        .collect();
    let findings: Result<Vec<Option<Finding>>, StepError> = suspects
        .par_iter()
        .map(|module| {
            let bytes = release.store.read(&module.digest)?;
            let app = module.application.as_deref().unwrap_or_default();
            let on_load = beam_file::info(&bytes).is_ok_and(|info| info.has_on_load);
            let file = BeamFile::parse(&bytes);
            let mentioned = file.and_then(|file| beam_file::atoms(&file)).unwrap_or_default();
            if !on_load || owners.iter().flatten().any(|owner| mentioned.iter().any(|atom| atom == owner)) {
                return Ok(None);
            }
            let message = format!(
                "{} loads native code when it is loaded, and its application {app} has no native file",
                module_name(&module.links.name)
            );
            let hint = format!(
                "see to it that what compiles {app} makes its library in `priv` (a C compiler and make, or cargo, in PATH?)"
            );
            Ok(Some(
                Finding::new(Kind::Nifs, message).of(app).module(&module.links.name).file(&module.path).hint(hint),
            ))
        })
        .collect();
    Ok(findings?.into_iter().flatten().collect())
}
