//! Erlang terms, compared with what a real Erlang reads and writes.

#[allow(dead_code)]
mod erlang;

use proptest::prelude::*;
use relgraph_rules::etf::{
    self, BigInteger, EtfError, Float, Limits, Term, consult, consult_one, decode, encode,
};

/// What Erlang reads from these files, as (file, term in the external format).
fn consulted_by_erlang(patterns: &str) -> Vec<(String, Vec<u8>)> {
    let body = format!(
        r#"Files = lists:append([filelib:wildcard(code:root_dir() ++ P) || P <- [{patterns}]]),
  [case file:consult(F) of
     {{ok, Ts}} -> io:format("~ts ~ts~n", [F, [io_lib:format("~2.16.0b", [B]) || <<B>> <= term_to_binary(Ts)]]);
     _ -> io:format("~ts error~n", [F])
   end || F <- Files]"#
    );
    let listing = erlang::run(&body, &[]);
    let line = |line: &str| {
        let (file, digits) = line.rsplit_once(' ').unwrap();
        (file.to_owned(), if digits == "error" { Vec::new() } else { erlang::unhex(digits) })
    };
    listing.lines().map(line).collect()
}

#[test]
fn files_of_terms_read_as_erlang_reads_them() {
    let patterns = r#""/lib/*/ebin/*.app", "/lib/*/ebin/*.appup", "/releases/*/*.rel", "/releases/*/*.script", "/bin/*.script""#;
    let files = consulted_by_erlang(patterns);
    assert!(files.len() > 30, "{} files", files.len());
    for (file, bytes) in files {
        let text = std::fs::read(&file).unwrap();
        let expected = decode(&bytes).unwrap();
        assert_eq!(
            Term::list(consult(&text).unwrap_or_else(|error| panic!("{file}: {error}"))),
            expected,
            "{file}"
        );
        assert_eq!(
            consult_one(format!("{expected}.").as_bytes()).unwrap(),
            expected,
            "{file} written and read"
        );
    }
}

#[test]
fn a_boot_file_is_its_script() {
    let root = erlang::run(r#"io:format("~ts", [code:root_dir()])"#, &[]);
    let script = std::fs::read(format!("{root}/bin/start.script"))
        .or_else(|_| std::fs::read(format!("{root}/bin/start_clean.script")));
    let Ok(script) = script else { return };
    let boot = std::fs::read(format!("{root}/bin/start_clean.boot")).unwrap();
    assert!(decode(&boot).unwrap().as_tagged("script").is_some());
    assert!(consult_one(&script).unwrap().as_tagged("script").is_some());
}

const TEXTS: &[&str] = &[
    r"'quoted \'atom\' \n \x{17e} \101'",
    "ünquoted@Atom_1",
    r#""string \"with\" \t\e\s\d\^A\x41\x{20ac}\0 é ž" "and more""#,
    "\"\"",
    "\"line one\nline two\"",
    "[$a, $\\n, $\\s, $ , $\\x{20ac}, $%]",
    "[1, -1, +2, 255, 256, 2147483647, 2147483648, -2147483649, 9223372036854775807, 9223372036854775808, -9223372036854775808]",
    "[16#ff, 2#1010, 36#zz, 16#FFFFFFFFFFFFFFFFFFFF, 1_000_000, -16#1_0, 123456789012345678901234567890123456789]",
    "[1.0, -1.5e10, 1.0e-300, 0.1, 1.0E+5, 123456789.123456789, 1_0.5]",
    "{}",
    "{a, {b, [c | d]}, [a, b | [c]], [1, 2 | \"ab\"], [a|[b|c]]}",
    "#{a => 1, \"b\" => #{}, {c} => [#{1 => 2, 1.0 => 3}]}",
    "# {a => 1}",
    r#"{<<>>, <<"text">>, <<"žluť"/utf8>>, <<1,2,255>>, <<5:3>>, <<1:1,0:1,7:16>>, <<"a",1,"b">>, <<-1>>, <<256>>, <<300:16>>}"#,
    "fun lists:map/2",
    "[fun 'Elixir.Enum':'map!'/2]",
    "% comment\n  {a, % another %%\n 'b%c'}",
    "(a)",
    "'' ",
    "['and', 'Elixir.Foo', a@b, 'A', '1a', 'receive']",
    "{\"ab\", [97, 98], [256, 97], []}",
];

#[test]
fn texts_read_as_erlang_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("terms");
    std::fs::write(&path, TEXTS.iter().map(|text| format!("{text}.\n")).collect::<String>()).unwrap();
    let program = r#"{ok, Ts} = file:consult(hd(Args)),
  [io:format("~ts~n", [[io_lib:format("~2.16.0b", [B]) || <<B>> <= term_to_binary(T, O)]]) || T <- Ts, O <- [[], [compressed]]]"#;
    let lines = erlang::run(program, &[&path]);
    let terms: Vec<Term> = lines.lines().map(|line| decode(&erlang::unhex(line)).unwrap()).collect();
    assert_eq!(terms.len(), 2 * TEXTS.len());
    let mine = consult(&std::fs::read(&path).unwrap()).unwrap();
    for (index, text) in TEXTS.iter().enumerate() {
        assert_eq!(mine[index], terms[2 * index], "{text}");
        assert_eq!(mine[index], terms[2 * index + 1], "{text}, compressed");
    }
    // What we write, as text and as bytes, is read back by Erlang as the same terms.
    let text = folder.path().join("text");
    let bytes = folder.path().join("bytes");
    std::fs::write(&text, mine.iter().map(|term| format!("{term}.\n")).collect::<String>()).unwrap();
    std::fs::write(&bytes, encode(&Term::list(mine))).unwrap();
    let program = r#"[File, Text, Bytes] = Args, {ok, Ts} = file:consult(File), {ok, Us} = file:consult(Text),
  {ok, B} = file:read_file(Bytes), Vs = binary_to_term(B),
  [io:format("~p~n~p~n~p~n", [X, Y, Z]) || {X, Y, Z} <- lists:zip3(Ts, Us, Vs), X =/= Y orelse X =/= Z]"#;
    assert_eq!(erlang::run(program, &[&path, &text, &bytes]), "");
}

#[test]
fn what_is_no_term_is_refused_with_its_place() {
    let refused = |text: &str| consult(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused("{a,\n  b"), "line 2, column 4: expected \"}\", found the end of the file");
    assert_eq!(refused("{a, Variable}."), "line 1, column 5: a variable is not a term");
    assert_eq!(refused("a"), "line 1, column 2: expected \".\", found the end of the file");
    assert_eq!(refused("[a, \"open]."), "line 1, column 5: the closing \" is missing");
    assert_eq!(refused("{and, b}."), "line 1, column 2: expected a term, found the reserved word and");
    assert_eq!(refused("[1, 37#1]."), "line 1, column 7: the base of a number is 2 to 36");
    assert_eq!(refused("a. b c."), "line 1, column 6: expected \".\", found atom c");
    assert_eq!(
        consult(b"%% ok\n'\xff'.").unwrap_err().to_string(),
        "line 2, column 2: the text is not UTF-8"
    );
    assert_eq!(consult(b"%% coding: latin-1\n'\xff'.").unwrap(), vec![Term::atom("ÿ")]);
    for opening in ["[", "{", "#{", "(", "#{a=>", "[a|"] {
        let message = consult(opening.repeat(100_000).as_bytes()).unwrap_err().message;
        assert_eq!(message, "the term is too deep or too large", "{opening}");
    }
    assert!(consult_one(b"a. b.").is_err());
}

#[test]
fn limits_hold() {
    let deep = [&[131][..], &[104, 1].repeat(100_000), &[106]].concat();
    assert_eq!(decode(&deep), Err(EtfError::TooDeep { limit: 256 }));
    for part in [
        &[105, 0, 0, 0, 1][..],
        &[108, 0, 0, 0, 1],
        &[116, 0, 0, 0, 1],
        &[116, 0, 0, 0, 1, 106],
        &[117, 0, 0, 0, 1],
    ] {
        assert!(
            matches!(decode(&[&[131][..], &part.repeat(100_000)].concat()), Err(EtfError::TooDeep { .. })),
            "{part:?}"
        );
    }
    assert_eq!(decode(&[131, 108, 255, 255, 255, 255]), Err(EtfError::Truncated { at: 6 }));
    assert_eq!(decode(&[131, 109, 255, 255, 255, 255, 1]), Err(EtfError::Truncated { at: 7 }));
    assert_eq!(decode(&[131, 97, 1, 0]), Err(EtfError::Trailing { at: 3 }));
    assert_eq!(decode(&[131, 82, 0]), Err(EtfError::UnknownTag { tag: 82, at: 1 }));
    assert_eq!(
        decode(&[131, 80, 255, 255, 255, 255]),
        Err(EtfError::TooLarge { limit: 256 << 20, unit: "bytes" })
    );
    let wide = [&[131, 104, 200][..], &[106; 200]].concat();
    let limits = Limits { terms: 100, ..Limits::default() };
    assert_eq!(etf::decode_with(&wide, &limits), Err(EtfError::TooLarge { limit: 100, unit: "terms" }));
}

fn term() -> impl Strategy<Value = Term> {
    let leaf =
        prop_oneof![
            any::<i64>().prop_map(Term::Integer),
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(sign, bytes)| BigInteger::term(sign, bytes)),
            any::<f64>()
                .prop_filter("finite", |value| value.is_finite())
                .prop_map(|value| Term::Float(Float(value))),
            "\\PC{0,8}".prop_map(Term::Atom),
            "[a-z]{1,5}".prop_map(Term::Atom),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(Term::Binary),
            "\\PC{0,8}".prop_map(|text| Term::Binary(text.into_bytes())),
            "\\PC{0,8}".prop_map(|text| Term::list(
                text.chars().map(|char| Term::Integer(u32::from(char).into())).collect()
            )),
            (prop::collection::vec(any::<u8>(), 1..4), 1..8usize).prop_map(|(bytes, bits)| {
                let bits = (bytes.len() - 1) * 8 + bits;
                Term::bits(bytes, bits)
            }),
            ("[a-z]{1,5}", "\\PC{1,5}", any::<u8>())
                .prop_map(|(module, function, arity)| Term::ExternalFun { module, function, arity }),
        ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Term::Tuple),
            prop::collection::vec(inner.clone(), 0..5).prop_map(Term::list),
            (prop::collection::vec(inner.clone(), 0..3), inner.clone())
                .prop_map(|(list, tail)| Term::list_with_tail(list, tail)),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(|pairs| Term::map(pairs).0),
        ]
    })
}

proptest! {
    #[test]
    fn terms_survive_bytes_and_text(term in term()) {
        prop_assert_eq!(decode(&encode(&term)).unwrap(), term.clone());
        let text = format!("{term}.");
        prop_assert_eq!(consult_one(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}")), term);
    }

    #[test]
    fn any_bytes_end_in_a_term_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[&[131][..], &bytes].concat());
        let _ = consult(&bytes);
        let _ = consult(String::from_utf8_lossy(&bytes).as_bytes());
    }

    #[test]
    fn damaged_terms_end_in_a_term_or_an_error(term in term(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode(&term);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(term) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&term)).unwrap(), term);
        }
        let _ = decode(&bytes[..at]);
    }
}
