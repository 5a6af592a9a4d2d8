//! `unsafe` stays in the few files that may say it, as often as is known.

use std::collections::BTreeMap;
use std::path::Path;

/// Every file that says `unsafe`, and how often. The crate denies `unsafe_code` elsewhere; a number that changes is
/// a new argument to be read, or one that has gone.
const UNSAFE: &[(&str, usize)] =
    &[("src/simd/avx2.rs", 13), ("src/simd/avx512.rs", 10), ("src/view.rs", 24), ("src/view/cube.rs", 15)];

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
    for folder in ["src", "examples"] {
        visit(&root.join(folder), root, &mut found);
    }
    let known: BTreeMap<String, usize> =
        UNSAFE.iter().map(|&(name, count)| (name.to_string(), count)).collect();
    assert_eq!(found, known);
}

#[test]
fn comments_and_longer_words_do_not_count() {
    assert_eq!(count("// unsafe\n#![allow(unsafe_code)] /// unsafe\nunsafe fn f() { unsafe { g() } }"), 2);
}
