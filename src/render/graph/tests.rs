use super::*;

fn view() -> View {
    let node = |name: &str, needs: &[usize], outcome: Option<&str>| Node {
        name: name.into(),
        rule: "custom",
        needs: needs.to_vec(),
        outcome: outcome.map(str::to_owned),
        reason: outcome.map(|_| Reason::InputChanged("a \"b\" <c>".into())),
        duration_ms: outcome.map(|_| 1500),
    };
    View {
        release: "demo".into(),
        environment: "prod".into(),
        run: Some("0123".into()),
        nodes: vec![
            node("a", &[], Some("ran")),
            node("b \"x\" <y> & z", &[0], None),
            node("c", &[0, 1], Some("failed")),
        ],
    }
}

#[test]
fn edges_that_follow_from_others_are_not_drawn_and_not_lost() {
    assert_eq!(view().reduced(), [vec![], vec![0], vec![1]]);
    assert_eq!(view().json()["steps"][2]["needs"], json!(["a", "b \"x\" <y> & z"]));
    assert_eq!(view().json()["steps"][0]["reason"]["kind"], "input_changed");
}

#[test]
fn dot_quotes_names() {
    let text = dot::text(&view());
    assert!(text.starts_with("digraph \"demo\" {\n"));
    assert!(text.contains("n1 [label=\"b \\\"x\\\" <y> & z\", tooltip=\"b \\\"x\\\" <y> & z: unknown\""));
    assert!(text.contains("tooltip=\"a: ran, 1.50 s, a \\\"b\\\" <c> changed\""));
    assert!(text.ends_with("  n0 -> n1;\n  n1 -> n2;\n}\n"));
}

#[test]
fn mermaid_escapes_names() {
    assert_eq!(
        mermaid::text(&view()),
        "flowchart LR\n\
         \x20 n0[\"a\"]:::ran\n\
         \x20 n1[\"b #quot;x#quot; #lt;y#gt; #amp; z\"]:::unknown\n\
         \x20 n2[\"c\"]:::failed\n\
         \x20 n0 --> n1\n\
         \x20 n1 --> n2\n\
         \x20 classDef unknown fill:#ffffff,stroke:#6e7781,color:#1f2328\n\
         \x20 classDef ran fill:#fdf3dc,stroke:#b07b14,color:#1f2328\n\
         \x20 classDef failed fill:#fce8e6,stroke:#c5352c,color:#1f2328\n"
    );
}

#[test]
fn the_picture_is_one_file_with_a_dark_side() {
    let text = svg::text(&view());
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    assert!(text.contains("<title>a: ran, 1.50 s, a &quot;b&quot; &lt;c&gt; changed</title>"));
    assert!(text.contains("prefers-color-scheme:dark"));
    assert!(!text.contains("href") && !text.contains("<script"));
    assert_eq!(text.matches("<g class=\"step ").count(), 5, "three steps, two outcomes in the legend");
    assert_eq!(text.matches("class=\"edge\"").count(), 2);
    let open = text.matches('<').count();
    assert_eq!(open, text.matches('>').count());
}

#[test]
fn a_graph_of_thousands_is_drawn_fast() {
    let nodes = (0..3000_usize).map(|at| Node {
        name: format!("step {at}"),
        rule: "custom",
        needs: (1..5).filter_map(|back| at.checked_sub(back * back)).collect(),
        outcome: None,
        reason: None,
        duration_ms: None,
    });
    let view = View { release: "big".into(), environment: "prod".into(), run: None, nodes: nodes.collect() };
    assert!(svg::text(&view).len() > 100_000);
}
