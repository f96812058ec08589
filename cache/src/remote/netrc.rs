//! Passwords in a netrc file, as `ftp`, curl and git read them.

/// The user and the password for a host in the text of a netrc file: those of the first `machine` of that name that has
/// both, or else of `default`. Words may be quoted (`"a b\"c"`); what follows `#` at the start of a word is a comment; macros
/// (`macdef`, up to an empty line) are passed over. What cannot be read as such ends the search.
pub fn find(text: &str, host: &str) -> Option<(String, String)> {
    let mut fallback = None;
    let mut entry: Option<Login> = None;
    let mut words = Words { rest: text };
    loop {
        let word = words.next();
        let starts = matches!(word.as_deref(), None | Some("machine" | "default"));
        if starts && let Some(Login { wanted, user: Some(user), password: Some(password) }) = entry.take() {
            match wanted {
                Wanted::Host => return Some((user, password)),
                Wanted::Default if fallback.is_none() => fallback = Some((user, password)),
                _ => {}
            }
        }
        match word.as_deref() {
            None => return fallback,
            Some("machine") => {
                let Some(name) = words.next() else { return fallback };
                let wanted = if name.eq_ignore_ascii_case(host) { Wanted::Host } else { Wanted::No };
                entry = Some(Login { wanted, user: None, password: None });
            }
            Some("default") => entry = Some(Login { wanted: Wanted::Default, user: None, password: None }),
            Some("macdef") => words.skip_macro(),
            Some(key @ ("login" | "password" | "account")) => {
                let Some(value) = words.next() else { continue };
                match (key, &mut entry) {
                    ("login", Some(entry)) => entry.user = Some(value),
                    ("password", Some(entry)) => entry.password = Some(value),
                    _ => {}
                }
            }
            // A word that means nothing, such as `port`, is passed over, and so is its value in the next round.
            Some(_) => {}
        }
    }
}

enum Wanted {
    Host,
    Default,
    No,
}

struct Login {
    wanted: Wanted,
    user: Option<String>,
    password: Option<String>,
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let mut word = String::new();
            let mut chars = quoted.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        self.rest = &quoted[at + 1..];
                        return Some(word);
                    }
                    '\\' => word.extend(chars.next().map(|(_, escaped)| match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    })),
                    other => word.push(other),
                }
            }
            // A quote that does not end.
            self.rest = "";
            return None;
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn skip_macro(&mut self) {
        let text = self.rest.replace("\r\n", "\n");
        let after = text.find("\n\n").map_or(text.len(), |at| at + 2);
        // Counted in lines, for the text may have been written with either kind of line end.
        for _ in 0..text[..after].matches('\n').count() {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if after == text.len() {
            self.rest = "";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    #[test]
    fn the_first_machine_of_that_name_with_both_is_taken() {
        let text = "machine a.example login ann password one\nmachine b.example\n\tlogin bob\n\tpassword two\n\
                    machine b.example login eve password three\n";
        assert_eq!(find(text, "a.example"), pair("ann", "one"));
        assert_eq!(find(text, "B.EXAMPLE"), pair("bob", "two"));
        assert_eq!(find(text, "c.example"), None);
        assert_eq!(find("machine x login ann machine x password p login bob", "x"), pair("bob", "p"));
        assert_eq!(find("machine x login ann", "x"), None);
        assert_eq!(find("machine", "x"), None);
        assert_eq!(find("", "x"), None);
    }

    #[test]
    fn the_default_is_for_all_others() {
        let text = "machine a login ann password one account x\ndefault login anonymous password guest\n";
        assert_eq!(find(text, "a"), pair("ann", "one"));
        assert_eq!(find(text, "b"), pair("anonymous", "guest"));
        assert_eq!(find("default login d password e\nmachine a login b password c", "a"), pair("b", "c"));
    }

    #[test]
    fn words_may_be_quoted_and_commented() {
        let text = "# machine x login no password no\nmachine x login \"a b\" # what follows\npassword \"q\\\"\\\\#\"\n";
        assert_eq!(find(text, "x"), pair("a b", "q\"\\#"));
        assert_eq!(find("machine x login l password p#q", "x"), pair("l", "p#q"));
        assert_eq!(find("machine x login l password \"open", "x"), None);
    }

    #[test]
    fn macros_are_passed_over() {
        for end in ["\n", "\r\n"] {
            let text =
                ["macdef init", "machine x login no password no", "", "machine x login l password p", ""];
            assert_eq!(find(&text.join(end), "x"), pair("l", "p"), "{end:?}");
        }
        assert_eq!(find("macdef init\nmachine x login no password no\n", "x"), None);
    }
}
