"""The check of the code's shape, on small crates made for each case."""

import subprocess

import imports
import pytest


@pytest.fixture
def crate(tmp_path):
    """Writes a crate of the given files and gives its folder."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)

    def write(**files):
        (tmp_path / "src").mkdir()
        (tmp_path / "Cargo.toml").write_text('[package]\nname = "some-crate"\n')
        for name, text in files.items():
            file = tmp_path / "src" / (name.replace("__", "/") + ".rs")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return tmp_path

    return write


def edges(folder):
    """Importer, definer and names, of a crate with one target."""
    all_crates = imports.crates(folder)
    found = imports.imports(all_crates[0], imports.Resolver(all_crates))
    return {(a.stem, b.stem): names for (a, b), names in found.items()}


@pytest.mark.parametrize(
    "code",
    [
        "use crate::b::Thing;",
        "use super::b::{self, Thing as Other};",
        "pub(crate) use crate::b::Thing;",
        "use crate::b; fn f() -> b::Thing { todo!() }",
        "use crate::b as other; fn f() { other::Thing::new(); }",
        "fn f() { use crate::b::*; Thing::new(); }",
        "fn f() { crate::b::Thing::new(); }",
        "fn f() { let x = <crate::b::Thing as Default>::default(); }",
        '#[serde(with = "crate::b::Thing")] struct S;',
        "macro_rules! make { () => { $crate::b::Thing::new() } }",
        "mod inner { use super::super::b::Thing; }",
        "use some_crate::b::Thing;",
        "use crate::Thing;",
    ],
)
def test_a_name_leads_to_the_file_that_defines_it(crate, code):
    folder = crate(lib="mod a; mod b; pub use b::Thing;", a=code, b="pub struct Thing;")
    assert edges(folder) == {("lib", "b"): {"Thing"}, ("a", "b"): {"Thing"}}


@pytest.mark.parametrize(
    "code",
    [
        "// use crate::b::Thing;\n/* crate::b::Thing /* nested */ */",
        'const TEXT: &str = "use crate::b::Thing; \\" crate::b::Thing";',
        'const TEXT: &str = r#"crate::b::Thing " "#;',
        "#[cfg(test)] use crate::b::Thing;",
        "#[cfg(test)] #[allow(unused)] fn f() { crate::b::Thing; } const Q: char = '\"';",
        "#[cfg(all(test, unix))] mod tests { use crate::b::Thing; }",
        "use std::b::Thing; use other::Thing as More;",
        "pub(in crate::b) struct Own;",
    ],
)
def test_comments_texts_and_tests_import_nothing(crate, code):
    assert not edges(crate(lib="mod a; mod b;", a=code, b="pub struct Thing;"))


def test_code_of_tests_and_others_counts(crate):
    folder = crate(lib="mod a; mod b;", a="#[cfg(any(test, unix))] use crate::b::Thing;", b="pub struct Thing;")
    assert edges(folder) == {("a", "b"): {"Thing"}}


def test_a_macro_above_a_module_is_an_item_of_its_file(crate):
    folder = crate(lib="macro_rules! make { () => {} } mod a;", a="make!();")
    assert edges(folder) == {("a", "lib"): {"make"}}


def test_a_circle_is_told_with_the_names_that_tie_it(crate):
    folder = crate(
        lib="mod one; mod two; mod three;",
        one="use crate::two::Two; pub struct One;",
        two="mod below; pub use below::Two;",
        two__below="use crate::one::One; pub struct Two;",
        three="use crate::one::One;",
    )
    assert list(imports.complaints(folder)) == [
        "circle of 2 files in some_crate:\n"
        "  src/one.rs -> src/two/below.rs: Two\n"
        "  src/two/below.rs -> src/one.rs: One"
    ]


def test_a_file_that_hands_its_child_on_and_lends_it_a_constant_is_a_circle(crate):
    folder = crate(lib="mod a; pub use a::A; pub const SIDE: u32 = 1;", a="use crate::SIDE; pub struct A;")
    assert "src/a.rs -> src/lib.rs: SIDE" in next(imports.complaints(folder))


def test_long_files_and_functions_are_told(crate):
    body = "    step();\n"
    folder = crate(
        lib="mod short; mod long;",
        short="fn fits() {\n" + body * 78 + "}\nfn not() {\n" + body * 79 + "}\n",
        long="\n" * 401,
    )
    assert list(imports.complaints(folder)) == [
        "src/long.rs: 401 lines, above 400",
        "src/short.rs:81: `not` has 81 lines, above 80",
    ]


def test_lines_are_those_of_code(crate):
    folder = crate(
        lib='mod a;\n\n// Comment.\n/* More\n of it */ const A: &str = "two\nlines";\n#[cfg(test)]\nmod tests {\n}\n',
        a="fn f() {\n    let quote = '\"'; // \"\n}\n",
        tests__own="fn test() {}\n",
    )
    assert sum(imports.count(folder).values()) == 6
