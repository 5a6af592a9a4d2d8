//! `unsafe` stays in the few files that may say it, as often as is known.

use std::collections::BTreeMap;
use std::path::Path;

/// Every file that SAFETY.md has a heading for, and how often it finds `unsafe` there: the second column, added up. The
/// crate denies `unsafe_code` elsewhere; a number that changes is a new argument to be read, or one that has gone.
fn argued() -> BTreeMap<String, usize> {
    let mut argued = BTreeMap::new();
    let mut file = None;
    for line in include_str!("../SAFETY.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            file = heading.ends_with(".rs").then(|| heading.to_string());
        }
        let times = line.split('|').nth(2).and_then(|cell| cell.trim().parse::<usize>().ok());
        if let (Some(file), Some(times)) = (&file, times) {
            *argued.entry(file.clone()).or_default() += times;
        }
    }
    argued
}

/// How often the keyword stands in this source, comments aside.
fn count(source: &str) -> usize {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|&w| w == "unsafe")
        .count()
}

fn visit(folder: &Path, root: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in folder.read_dir().expect("a folder of sources") {
        let path = entry.expect("an entry of that folder").path();
        if path.ends_with("target") {
            continue; // what building the peers has made
        }
        if path.is_dir() {
            visit(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            let count = count(&std::fs::read_to_string(&path).expect("a source"));
            if count > 0 {
                found.insert(name.replace('\\', "/"), count);
            }
        }
    }
}

#[test]
fn unsafe_is_where_it_is_known_to_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["src", "examples", "tests", "benches"] {
        visit(&root.join(folder), root, &mut found);
    }
    found.remove("tests/unsafe_count.rs"); // which speaks of it
    assert_eq!(found, argued());
}

#[test]
fn comments_and_longer_words_do_not_count() {
    assert_eq!(count("// unsafe\n#![allow(unsafe_code)] /// unsafe\nunsafe fn f() { unsafe { g() } }"), 2);
}
