//! Just enough of the tokens of Elixir and Erlang to find names without being misled by comments and strings.

/// Whose tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    Elixir,
    Erlang,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// `name:` in Elixir.
    Key(String),
    /// `:name` in Elixir, `name` or `'name'` in Erlang.
    Atom(String),
    /// Any other word: `do`, `@version`, `Mix`.
    Word(String),
    /// A string, or a character, as it is written between the quotes.
    Text(String),
    Sign(char),
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '?' | '!')
}

/// Cuts `text` into tokens; what it does not know becomes a sign.
pub(super) fn tokens(text: &str, lang: Lang) -> Vec<Token> {
    placed(text, lang).into_iter().map(|(_, token)| token).collect()
}

/// The same with the line in which each begins, from 1.
pub(super) fn placed(text: &str, lang: Lang) -> Vec<(usize, Token)> {
    let comment = if lang == Lang::Elixir { '#' } else { '%' };
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut i, mut line, mut counted) = (0, 1, 0);
    while let Some(&c) = chars.get(i) {
        line += chars[counted..i].iter().filter(|c| **c == '\n').count();
        counted = i;
        let next = chars.get(i + 1).copied();
        if c == comment {
            while chars.get(i).is_some_and(|c| *c != '\n') {
                i += 1;
            }
        } else if c == '"' || c == '\'' {
            let (inner, end) = quoted(&chars, i);
            i = end;
            if lang == Lang::Erlang && c == '\'' {
                tokens.push((line, Token::Atom(inner)));
            } else if lang == Lang::Elixir && chars.get(i) == Some(&':') && chars.get(i + 1) != Some(&':') {
                i += 1;
                tokens.push((line, Token::Key(inner)));
            } else {
                tokens.push((line, Token::Text(inner)));
            }
        } else if lang == Lang::Elixir && c == ':' && next == Some('"') {
            let (inner, end) = quoted(&chars, i + 1);
            i = end;
            tokens.push((line, Token::Atom(inner)));
        } else if lang == Lang::Elixir && c == ':' && next.is_some_and(is_word) {
            let (word, end) = word(&chars, i + 1);
            i = end;
            tokens.push((line, Token::Atom(word)));
        } else if (lang == Lang::Elixir && c == '?' || lang == Lang::Erlang && c == '$') && next.is_some() {
            // A character, which may be a quote.
            let end = (i + if next == Some('\\') { 3 } else { 2 }).min(chars.len());
            tokens.push((line, Token::Text(chars[i + 1..end].iter().collect())));
            i = end;
        } else if is_word(c) {
            let (word, end) = word(&chars, i);
            i = end;
            let key = lang == Lang::Elixir && chars.get(i) == Some(&':') && chars.get(i + 1) != Some(&':');
            if key {
                i += 1;
                tokens.push((line, Token::Key(word)));
            } else if lang == Lang::Erlang && c.is_lowercase() {
                tokens.push((line, Token::Atom(word)));
            } else {
                tokens.push((line, Token::Word(word)));
            }
        } else {
            if !c.is_whitespace() {
                tokens.push((line, Token::Sign(c)));
            }
            i += 1;
        }
    }
    tokens
}

fn word(chars: &[char], start: usize) -> (String, usize) {
    let word: String = chars[start..].iter().take_while(|c| is_word(**c)).collect();
    let end = start + word.chars().count();
    (word, end)
}

/// What stands between the quotes at `start` (three of them in a heredoc), and the index after them.
fn quoted(chars: &[char], start: usize) -> (String, usize) {
    let quote = chars[start];
    let long = chars[start..].starts_with(&[quote; 3]);
    let closing: &[char] = if long { &[quote; 3] } else { &[quote] };
    let mut i = start + closing.len();
    let mut inner = String::new();
    while let Some(&c) = chars.get(i) {
        if chars[i..].starts_with(closing) {
            return (inner, i + closing.len());
        }
        if c == '\\' {
            i += 1;
        }
        if let Some(c) = chars.get(i) {
            inner.push(*c);
        }
        i += 1;
    }
    (inner, i.min(chars.len()))
}

/// The atom after `key:`.
pub(super) fn option(tokens: &[Token], key: &str) -> Option<String> {
    tokens.windows(2).find_map(|pair| match pair {
        [Token::Key(name), Token::Atom(value)] if name == key => Some(value.clone()),
        _ => None,
    })
}

/// The names under `releases:`, written there or in the function or attribute that it names.
pub(super) fn mix_releases(tokens: &[Token]) -> Vec<String> {
    let Some(at) = tokens.iter().position(|t| matches!(t, Token::Key(name) if name == "releases")) else {
        return Vec::new();
    };
    match &tokens[at + 1..] {
        [Token::Sign('['), rest @ ..] => keys_of_list(rest),
        [Token::Word(name), ..] => {
            let defined = tokens.windows(2).enumerate().find_map(|(i, pair)| match pair {
                [Token::Word(def), Token::Word(word)] if (def == "def" || def == "defp") && word == name => {
                    Some(i + 2)
                }
                // `@releases [...]`, not where it is used.
                [Token::Word(word), Token::Sign('[')] if word == name && name.starts_with('@') => Some(i + 1),
                _ => None,
            });
            let body = &tokens[defined.unwrap_or(tokens.len())..];
            let open = body.iter().take(6).position(|token| *token == Token::Sign('['));
            open.map_or_else(Vec::new, |open| keys_of_list(&body[open + 1..]))
        }
        _ => Vec::new(),
    }
}

/// The keys of a keyword list, from behind its bracket, those of lists inside of it left out; also `{:name, …}`.
fn keys_of_list(tokens: &[Token]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('[' | '{' | '(') => {
                if let (0, Token::Sign('{'), Some(Token::Atom(name))) = (depth, token, tokens.get(i + 1)) {
                    names.push(name.clone());
                }
                depth += 1;
            }
            Token::Sign(']' | '}' | ')') if depth == 0 => break,
            Token::Sign(']' | '}' | ')') => depth -= 1,
            Token::Key(name) if depth == 0 => names.push(name.clone()),
            _ => {}
        }
    }
    names
}

/// The names in `release :name do`.
pub(super) fn distillery_releases(tokens: &[Token]) -> Vec<String> {
    let names = tokens.windows(3).filter_map(|three| match three {
        [Token::Word(release), Token::Atom(name), Token::Word(then)]
            if release == "release" && then == "do" =>
        {
            Some(name.clone())
        }
        _ => None,
    });
    names.collect()
}

/// The names in `{release, {name, Version}, …}` or `{release, {name, …}, …}` below `relx`, each once.
pub(super) fn relx_releases(tokens: &[Token]) -> Vec<String> {
    let relx = tokens.iter().position(|token| *token == Token::Atom("relx".into())).unwrap_or(tokens.len());
    releases(&tokens[relx..])
}

/// The same, anywhere.
pub(super) fn releases(tokens: &[Token]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for five in tokens.windows(5) {
        if let [Token::Sign('{'), Token::Atom(release), Token::Sign(','), Token::Sign('{'), Token::Atom(name)] =
            five
            && release == "release"
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
    names
}
