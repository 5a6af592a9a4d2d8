//! The floor plan of ARCHITECTURE.md, held against the sources: no import goes upward, none leads round in a circle, and
//! what each file may hold stays there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of the house, and the rooms that each may use. A room is a file or a folder below `src`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("array", &["error"]),
    ("parallel", &["array", "error"]),
    ("simd", &["array", "error"]),
    ("index", &["parallel", "simd", "array", "error"]),
    ("order", &["simd"]),
    ("ops", &["order", "parallel", "simd", "index", "array", "error"]),
    ("reference", &["order", "simd", "index", "array", "error"]),
];

/// What the definitions use of the public names: options, and what calls answer. And what of the rooms: nothing that an
/// operation does with them.
const REFERENCE_MAY_USE: &[&str] = &[
    "Linear",
    "LinearGradients",
    "Loss",
    "Partial",
    "Reduction",
    "Rows",
    "SoftmaxXent",
    "select::By",
    "select::Mask",
    "select::NanPolicy",
    "select::Position",
    "select::Predicate",
    "select::TopK",
    "array::Element",
    "array::View",
    "array::ViewMut",
    "array::count",
    "array::zeros",
    "error::Error",
    "error::Result",
    "index::Index",
    "index::Indices",
    "index::Mode",
    "order",
    "simd::Float",
    "simd::scaled",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file below `src`, by its path from there, with its text.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let name =
        |path: &Path| path.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a source"))).collect()
}

/// A file's code, without its comments and without its own tests, which may use anything.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().expect("a name")
}

/// The paths that follow `crate::` in some code, groups in braces written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<String> {
    /// The paths at the start of `text`, and how much of it they take.
    fn read(text: &str, prefix: &str) -> (Vec<String>, usize) {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
        let path = format!("{prefix}{}", &text[..end]);
        if !text[end..].starts_with('{') || !(path.is_empty() || path.ends_with("::")) {
            return (vec![path], end);
        }
        let (mut found, mut at) = (Vec::new(), end + 1);
        loop {
            at += text[at..].find(|c: char| !c.is_whitespace() && c != ',').expect("the group's end");
            if text[at..].starts_with('}') {
                return (found, at + 1);
            }
            let (inner, taken) = read(&text[at..], &path);
            found.extend(inner);
            at += taken;
            at += text[at..].find([',', '}']).expect("the group's end"); // `as name` may stand before it
        }
    }
    code.match_indices("crate::").flat_map(|(at, found)| read(&code[at + found.len()..], "").0).collect()
}

#[test]
fn paths_are_read_with_their_groups() {
    let found = paths("use crate::a::{self, b, c::{d as e, f}, g};\nuse crate::{h, i};\ncrate::j::k(1)");
    assert_eq!(found, ["a::self", "a::b", "a::c::d", "a::c::f", "a::g", "h", "i", "j::k"]);
}

#[test]
fn no_import_goes_upward_or_round() {
    let files = files();
    let mut wrong = Vec::new();
    let mut used = BTreeMap::<&str, BTreeSet<String>>::new();
    for (file, text) in files.iter().filter(|(file, _)| *file != "lib.rs") {
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == room(file)) else {
            wrong.push(format!("{file} is in no room of the plan"));
            continue;
        };
        for path in paths(&code(text)) {
            let target = path.split("::").next().unwrap_or_default();
            let is_room = MAY_USE.iter().any(|(name, _)| *name == target);
            if !is_room || target == room(file) {
                continue; // a name that lib.rs exports, or a neighbour
            }
            used.entry(room(file)).or_default().insert(target.to_string());
            if !may_use.contains(&target) {
                wrong.push(format!("{file} uses {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the floor plan:\n{}", wrong.join("\n"));
    // The plan itself has no circle: each room uses only rooms that stand before it.
    for (at, (name, may_use)) in MAY_USE.iter().enumerate() {
        let before = &MAY_USE[..at];
        assert!(
            may_use.iter().all(|used| before.iter().any(|(name, _)| name == used)),
            "{name} is in a circle"
        );
    }
    assert!(used["ops"].contains("parallel"), "the reader of imports finds none");
}

/// A fault in what operations share must not be one of the definitions', too.
#[test]
fn definitions_use_no_part_of_an_operation() {
    for (file, text) in files().iter().filter(|(file, _)| file.starts_with("reference/")) {
        for path in paths(&code(text)) {
            let is_listed = |name: &&str| {
                path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            assert!(REFERENCE_MAY_USE.iter().any(is_listed), "{file} uses {path}");
        }
    }
}

/// Families of operations know nothing of each other, but for what is built of another one.
#[test]
fn families_stand_beside_each_other() {
    for (file, text) in files().iter().filter(|(file, _)| file.starts_with("ops/")) {
        let family = |path: &str| path.split('/').nth(1).map(|name| name.trim_end_matches(".rs").to_string());
        for path in paths(&code(text)).iter().filter(|path| path.starts_with("ops::")) {
            let other = path.split("::").nth(1).map(str::to_string);
            let built_of = family(file).as_deref() == Some("linear_xent");
            assert!(other == family(file) || built_of, "{file} uses {path}");
        }
    }
}

#[test]
fn threads_and_pointers_have_one_place_each() {
    for (file, text) in files() {
        let code = code(&text);
        if file != "parallel.rs" {
            for name in ["rayon::", "std::thread", "num_cpus"] {
                let is_local = name == "std::thread" && code.contains("thread_local!");
                assert!(is_local || !code.contains(name), "{file} knows of threads: {name}");
            }
        }
        // The files of `array` make pieces from what is borrowed; `raw` alone follows their pointers.
        if !["simd/", "array/", "parallel.rs"].iter().any(|place| file.starts_with(place)) {
            for name in ["NonNull", ".as_mut_ptr()", "from_raw_parts"] {
                assert!(!code.contains(name), "{file} handles pointers: {name}");
            }
        }
    }
}

#[test]
fn unsafe_is_rare() {
    // Not in one word, which `tests/unsafe_count.rs` would count.
    const KEYWORD: &str = concat!("un", "safe");
    let is_place = |rest: &&str| [" {", " impl", " fn", " trait"].iter().any(|what| rest.starts_with(what));
    let count = |code: &str| code.split(KEYWORD).skip(1).filter(is_place).count();
    let files = files();
    let outside = files
        .iter()
        .filter(|(file, _)| !file.starts_with("simd/avx"))
        .map(|(file, text)| (file, count(&code(text))));
    let places: Vec<_> = outside.filter(|&(_, n)| n > 0).collect();
    let total: usize = places.iter().map(|&(_, n)| n).sum();
    assert!(total <= 15, "{total} times: {places:?}");
}

#[test]
fn comments_are_narrow() {
    for (file, text) in files() {
        for (number, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("//") && !line.contains("| "); // but for tables
            assert!(!is_comment || line.chars().count() <= 120, "{file}:{}: a wide comment", number + 1);
        }
    }
}
