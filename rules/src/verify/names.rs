//! Under which names the two releases have the same things.

/// What the two releases are called.
#[derive(Debug, Clone)]
pub struct Names {
    /// The name of the release.
    pub name: String,
    /// Its version in ours.
    pub our_version: String,
    /// Its version in theirs.
    pub their_version: String,
    /// Whether ours is laid out for hot upgrades, and theirs is not.
    pub hot: bool,
}

impl Names {
    /// The same on both sides.
    pub fn same(name: &str, version: &str) -> Names {
        Names {
            name: name.to_owned(),
            our_version: version.to_owned(),
            their_version: version.to_owned(),
            hot: false,
        }
    }

    /// The path in our release of what has this path in theirs.
    pub fn ours(&self, theirs: &str) -> String {
        let folder = format!("releases/{}", self.their_version);
        let Some(rest) = theirs.strip_prefix(&folder).filter(|rest| rest.is_empty() || rest.starts_with('/'))
        else {
            return theirs.to_owned();
        };
        if self.hot
            && let Some(module) =
                rest.strip_prefix("/consolidated").filter(|m| m.is_empty() || m.starts_with('/'))
        {
            return format!("{}/ebin{module}", self.protocols());
        }
        format!("releases/{}{rest}", self.our_version)
    }

    /// The folder of the application that holds consolidated protocols, in a release for hot upgrades.
    pub fn protocols(&self) -> String {
        format!("lib/{}_protocols-{}", self.name, self.our_version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_has_the_same_path() {
        let mut names = Names { their_version: "1.0".into(), hot: true, ..Names::same("app", "2.0") };
        assert_eq!(names.ours("releases/1.0/sys.config"), "releases/2.0/sys.config");
        assert_eq!(names.ours("releases/1.0"), "releases/2.0");
        assert_eq!(names.ours("releases/1.0.1/x"), "releases/1.0.1/x");
        assert_eq!(names.ours("releases/1.0/consolidated/M.beam"), "lib/app_protocols-2.0/ebin/M.beam");
        names.hot = false;
        assert_eq!(names.ours("releases/1.0/consolidated/M.beam"), "releases/2.0/consolidated/M.beam");
    }
}
