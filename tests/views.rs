//! The views of `diff`: on a terminal, in a pull request, in a browser.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use support::TestSpace;
use support::browser::Browser;
use support::project::Project;

/// examples/sequence in both versions, built.
fn sequences(space: &TestSpace) -> Project {
    space.example("sequence", "one").build();
    let new = space.example("sequence-0.2.0", "two");
    new.build();
    new
}

fn shown(project: &Project, args: &[&str]) -> String {
    let said = project.ask(&[&["diff"], args].concat());
    assert_eq!(said.status, Some(0), "{}", said.err);
    said.out
}

#[track_caller]
fn assert_told(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn the_terminal_shows_a_screen_and_opens_up_what_is_asked_for() {
    let space = TestSpace::with_sequence();
    let project = sequences(&space);
    let closed = shown(&project, &["0.1.0", "0.2.0"]);
    assert!(closed.starts_with(
        "sequence 0.1.0 -> 0.2.0: 5 modules with other code, 1 config key, same runtime\n  hot: "
    ));
    assert_told(&closed, &["\n  + Sequence.Label.List\n", "vsn \"0\" -> \"1\"", "  + sequence keep: 10\n"]);
    assert!(closed.lines().count() < 48, "{closed}");
    assert!(!closed.contains("handle_call/3") && !closed.contains("start.boot"), "{closed}");
    let functions = shown(&project, &["0.1.0", "0.2.0", "--functions"]);
    assert_told(
        &functions,
        &["functions changed: code_change/3 handle_call/3 init/1", "functions added: keep/0 recent/1"],
    );
    assert!(!functions.contains("start.boot"), "{functions}");
    let modules = shown(&project, &["0.1.0", "0.2.0", "--modules"]);
    assert_told(&modules, &["      process: gen_server\n", "      code_change brings the state along\n"]);
    assert_told(&shown(&project, &["0.1.0", "0.2.0", "--files"]), &["  ~ releases/VSN/start.boot  "]);
    let differs = project.ask(&["diff", "0.1.0", "0.2.0", "--exit-code", "--format", "markdown"]);
    assert_eq!(differs.status, Some(3));
    let same = project.ask(&["diff", "0.2.0", "0.2.0", "--exit-code", "--format", "html"]);
    assert_eq!(same.status, Some(0));
    assert_told(&same.out, &["<p class=counts>Nothing differs.</p>"]);
}

#[test]
fn a_pull_request_gets_a_summary_and_tables() {
    let space = TestSpace::with_sequence();
    let text = shown(&sequences(&space), &["0.1.0", "0.2.0", "--format", "markdown"]);
    assert_told(
        &text,
        &[
            "## sequence 0.1.0 -&gt; 0.2.0\n\n**hot&#58; ",
            "### modules of sequence\n\n| | | | |\n|---|---|---|---|\n",
            "| <code>+</code> | <code>Sequence.Label.List</code> |  |  |\n",
            "<code>vsn \"0\" -&gt; \"1\"</code>",
            "| <code>+</code> | <code>sequence keep</code> | <code>10</code> |  |\n",
        ],
    );
    for line in text.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.matches('|').count(), 5, "{line}");
    }
}

/// A release that nobody would build: all that it names wants to be more than text, and asks `port` for something.
fn evil(space: &TestSpace, version: &str, files: usize, port: u16) -> PathBuf {
    let dir = space.path(&format!("evil-{version}"));
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    };
    let ask = format!(
        "</script><img src=http://127.0.0.1:{port}/x><svg onload=fetch('http://127.0.0.1:{port}/y')>"
    );
    write("releases/start_erl.data", &format!("13.1.5 {version}"));
    let rel = "{release,{\"evil\",\"VSN\"},{erts,\"13.1.5\"},[{kernel,\"8.5\"},{evil,\"1.0\"}]}.";
    write(&format!("releases/{version}/evil.rel"), &rel.replace("VSN", version));
    let config = format!("[{{evil,[{{'\"><b>key',<<\"{version}{ask}\">>}},{{other,{files}}}]}}].");
    write(&format!("releases/{version}/sys.config"), &config);
    write("lib/evil-1.0/ebin/evil.app", "{application,evil,[{vsn,\"1.0\"},{applications,[kernel]}]}.");
    for number in 0..files {
        let folder = number / 500;
        write(&format!("lib/evil-1.0/priv/{folder}/<img src=x onerror=alert(1)> {number}"), "x");
    }
    dir
}

const ROWS: &str = "document.querySelectorAll('section.list > details > ul > li')";
const SHOWN: &str = "[...document.querySelectorAll('section.list > details > ul > li')].filter(row => !row.closest('[hidden]')).length";

/// The worst contrast of text with what is behind it, by the rules of WCAG; with the text.
const CONTRAST: &str = "(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour).length === 3) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || ['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 200)];
  }
  return worst;
})()";

fn page(space: &TestSpace, project: &Project, name: &str, old: &str, new: &str) -> String {
    let path = space.path(name);
    fs::write(&path, shown(project, &[old, new, "--format", "html"])).expect("a file");
    format!("file://{}", path.display())
}

fn opened(browser: &mut Browser, address: &str, scheme: &str) -> String {
    browser.prefer(scheme);
    browser.open(address);
    // What this page need not have.
    let all = ["hot", "application", "vm", "cold"]
        .map(|class| format!("<p class=\"verdict {class}\">x</p><span class=\"class {class}\">x</span>"))
        .concat();
    let more = "<li class=removed><span class=sign>x</span><code>x</code></li><code class=old>x</code><span class=why>x</span>";
    browser.value(&format!("document.querySelector('main').insertAdjacentHTML('beforeend', '{all}{more}')"));
    let worst = browser.value(CONTRAST);
    assert!(worst[0].as_f64() >= Some(4.5), "{scheme}: {worst}");
    browser.value("getComputedStyle(document.body).backgroundColor").to_string()
}

#[test]
fn a_browser_shows_the_page_searches_it_and_asks_nobody() {
    let space = TestSpace::with_sequence();
    let project = sequences(&space);
    let mut browser = Browser::start(&space);
    let address = page(&space, &project, "sequence.html", "0.1.0", "0.2.0");

    // Both schemes can be read, and are not the same.
    assert_ne!(opened(&mut browser, &address, "light"), opened(&mut browser, &address, "dark"));
    assert_eq!(browser.value("document.querySelector('h1').innerText"), "sequence 0.1.0 -> 0.2.0");
    let all = browser.value(SHOWN).as_u64().expect("a number");
    assert!(all > 15, "{all}");
    // Landmarks, and headings in order.
    for landmark in ["header", "nav[aria-label]", "main", "footer", "form[role=search] label[for=q]"] {
        assert!(browser.value(&format!("!!document.querySelector('{landmark}')")) == true, "{landmark}");
    }
    assert_eq!(browser.value("document.querySelectorAll('h1').length"), 1);
    let links = "[...document.querySelectorAll('a')].every(a => document.getElementById(a.hash.slice(1)))";
    assert_eq!(browser.value(links), true);
    let ids = "(() => { const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length - new Set(ids).size })()";
    assert_eq!(browser.value(ids), 0);

    // By keyboard: the first stop leads to the differences, `/` to the search, and what has the focus is seen.
    browser.press("Tab", 9, "");
    assert_eq!(browser.value("document.activeElement.className"), "skip");
    assert_eq!(browser.value("getComputedStyle(document.activeElement).outlineStyle"), "solid");
    assert_eq!(browser.value("document.activeElement.getBoundingClientRect().left >= 0"), true);
    browser.press("Enter", 13, "\r");
    assert_eq!(browser.value("document.activeElement.id"), "differences");
    browser.press("/", 191, "/");
    assert_eq!(browser.value("document.activeElement.id + document.activeElement.value"), "q");
    browser.write("SEQUENCE.server code_change");
    let found = browser.value(SHOWN).as_u64().expect("a number");
    assert!((1..all).contains(&found), "{found} of {all}");
    assert_eq!(
        browser.value("document.getElementById('found').value"),
        if found == 1 { "1 row".to_owned() } else { format!("{found} rows") }
    );
    browser.write(" nothing-like-that");
    assert_eq!(browser.value(SHOWN), 0);
    assert_eq!(browser.value("document.getElementById('none').hidden"), false);
    browser.press("Escape", 27, "");
    assert_eq!(browser.value(SHOWN), all);
    // An address may carry the words.
    browser.open(&format!("{address}#q=keep%20config"));
    assert_eq!(
        (browser.value(SHOWN), browser.value("document.getElementById('q').value")),
        (1.into(), "keep config".into())
    );

    // Without scripts all is there but for the search.
    browser.scripts(false);
    browser.open(&address);
    assert_eq!(browser.value(SHOWN), all);
    assert_eq!(browser.value("document.getElementById('search').hidden"), true);
    browser.scripts(true);

    asks_nobody(&space, &project, &mut browser);
}

/// Releases whose names and values want to be markup, with ten thousand files.
fn asks_nobody(space: &TestSpace, project: &Project, browser: &mut Browser) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    server.set_nonblocking(true).expect("it is");
    let port = server.local_addr().expect("an address").port();
    let asked = || server.accept().is_ok();
    let path = |path: &Path| path.display().to_string();
    let (old, new) = (evil(space, "1", 0, port), evil(space, "2", 10_000, port));
    let address = page(space, project, "evil.html", &path(&old), &path(&new));
    browser.asked.clear();
    browser.open(&address);
    assert_eq!(browser.value("document.querySelectorAll('img, svg, b, iframe').length"), 0);
    let rows = browser.value(&format!("{ROWS}.length")).as_u64().expect("a number");
    assert!(rows > 10_000, "{rows}");
    let values = "[...document.querySelectorAll('.new')].some(e => e.innerText.startsWith('<<\"2</script><img src=http://'))";
    assert_eq!(browser.value(values), true, "the value is shown as it is");
    browser.open(&format!("{address}#q=9999"));
    assert_eq!(browser.value(SHOWN), 1);
    assert_eq!(
        browser
            .asked
            .iter()
            .filter(|asked| !asked.starts_with("file:///") && *asked != "about:blank")
            .count(),
        0
    );
    assert!(!asked(), "something was asked for");
    assert_eq!(browser.complaints, Vec::<String>::new());

    // The policy holds where something gets in nevertheless; without it, this browser would ask.
    let page = fs::read_to_string(space.path("evil.html")).expect("the page");
    let image = format!("<body><img src=http://127.0.0.1:{port}/z>");
    let (opening, policy) = ("<body>", "<meta http-equiv=Content-Security-Policy");
    let injected = page.replacen(opening, &image, 1);
    fs::write(space.path("injected.html"), &injected).expect("a file");
    fs::write(space.path("open.html"), injected.replacen(policy, "<meta name=none", 1)).expect("a file");
    browser.open(&format!("file://{}", path(&space.path("injected.html"))));
    assert!(!asked(), "the policy lets something out");
    let open = format!("file://{}", path(&space.path("open.html")));
    browser.call("Page.navigate", serde_json::json!({ "url": open }));
    support::wait_until("the browser asks", asked);
}
