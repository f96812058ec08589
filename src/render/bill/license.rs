//! Licenses as packages name them, and the ids that SPDX gives them.

use std::collections::BTreeMap;

/// Every id of a license in the list that CycloneDX 1.5 and later refer to.
const IDS: &str = include_str!("licenses.txt");

/// What people write who mean these.
const MEANT: [(&str, &str); 12] = [
    ("apache 2", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache v2.0", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache-2", "Apache-2.0"),
    ("mit license", "MIT"),
    ("the mit license", "MIT"),
    ("isc license", "ISC"),
    ("mpl 2.0", "MPL-2.0"),
    ("mozilla public license 2.0", "MPL-2.0"),
    ("bsd 3-clause", "BSD-3-Clause"),
];

/// The id of a license; none where a text names no license that has one.
pub(super) fn id(text: &str) -> Option<&'static str> {
    let text = text.trim().to_lowercase();
    let meant = MEANT.iter().find(|(words, _)| *words == text).map(|(_, id)| *id);
    meant.or_else(|| IDS.lines().find(|id| id.to_lowercase() == text))
}

/// The name by which SPDX refers to a license without an id, and its text here: the words of the package.
pub(super) fn reference(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("LicenseRef-{}", text.trim().chars().map(plain).collect::<String>())
}

/// The licenses of a package as an expression of SPDX: all of them hold. Those without an id are added to `others`.
pub(super) fn expression(licenses: &[String], others: &mut BTreeMap<String, String>) -> String {
    let mut names: Vec<String> = Vec::new();
    for license in licenses.iter().filter(|license| !license.trim().is_empty()) {
        let name = id(license).map(str::to_owned).unwrap_or_else(|| {
            let name = reference(license);
            others.insert(name.clone(), license.clone());
            name
        });
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { "NOASSERTION".to_owned() } else { names.join(" AND ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_have_ids_or_are_quoted() {
        let mut others = BTreeMap::new();
        let licenses = ["MIT", "apache 2.0", "MIT", "Our own: ü", " "].map(str::to_owned);
        assert_eq!(expression(&licenses, &mut others), "MIT AND Apache-2.0 AND LicenseRef-Our-own---");
        assert_eq!(others["LicenseRef-Our-own---"], "Our own: ü");
        assert_eq!(expression(&[], &mut others), "NOASSERTION");
        assert_eq!((id("bsd-3-clause"), id("BSD")), (Some("BSD-3-Clause"), None));
    }
}
