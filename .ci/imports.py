#!/usr/bin/env python3
"""Checks the shape of our Rust code: no circle of imports between the files of a crate, no file above 400 lines, no
function above 80.

    .ci/imports.py [CRATE...]      prints each circle with the names that tie it, and each too long file or function
    .ci/imports.py --lines         counts the lines of code per package, without blanks, comments and tests

File A imports file B when A names an item that B defines, in a `use`, a `pub use` or a path in the code. A re-export
makes the file that holds it an importer; whoever takes the item through it imports the file that defines the item.
`mod x;` is no import. Tests are not judged: `tests/`, `benches/`, and code that only `cfg(test)` compiles. Methods are
not followed, for a method has no path. Code that a build script generates counts as the file that includes it.
"""

import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80

TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*)
  | (?P<comment>/\*)
  | (?P<text>(?:b|c)?r(?P<hashes>\#*)"(?s:.*?)"(?P=hashes) | (?:b|c)?"(?s:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])')
  | (?P<life>'\w+)
  | (?P<word>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>\d[\w]*(?:\.\d\w*)?)
  | (?P<sign>::|=>|->|.)
    """,
    re.VERBOSE,
)
OPENS, CLOSES = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
DEFINERS = {"fn", "struct", "enum", "union", "trait", "type", "const", "static"}
NAMED_LATER = {"unsafe", "async", "extern", "mut", "const", "fn"}
PATH_IN_TEXT = re.compile(r'"((?:crate|self|super)(?:::\w+)+)"')


@dataclass(slots=True)
class Token:
    kind: str
    text: str
    line: int


def tokens(source):
    """The tokens of Rust code, without comments."""
    found, place, line = [], 0, 1
    while place < len(source):
        match = TOKEN.match(source, place)
        kind, text, stop = match.lastgroup, match.group(), match.end()
        if kind == "hashes":
            kind = "text"
        if kind == "comment":
            depth, stop = 1, match.end()
            while depth:
                edge = re.compile(r"/\*|\*/").search(source, stop)
                depth += 1 if edge.group() == "/*" else -1
                stop = edge.end()
            text = source[place:stop]
        elif kind != "skip":
            found.append(Token(kind, text.removeprefix("r#"), line))
        line += text.count("\n")
        place = stop
    return found


def closing(code, start):
    """The place after the bracket that closes the one at `start`."""
    depth = 0
    for place in range(start, len(code)):
        if code[place].kind == "sign":
            depth += (code[place].text in OPENS) - (code[place].text in CLOSES)
            if depth == 0:
                return place + 1
    return len(code)


def item_end(code, start):
    """The place after the item, statement, field or match arm at `start`."""
    place = start
    while place < len(code):
        text = code[place].text if code[place].kind == "sign" else ""
        if text in CLOSES:
            return place
        if text in OPENS:
            place = closing(code, place)
            if text == "{" and not (place < len(code) and code[place].text in {";", ",", ".", "?", ")"}):
                return place
            continue
        place += 1
        if text in {";", ","}:
            return place
    return place


def only_in_tests(predicate):
    """Whether a `cfg` predicate, as text without spaces, holds in tests alone."""
    if predicate == "test":
        return True
    match = re.fullmatch(r"(all|any)\((.*)\)", predicate)
    if not match:
        return False
    depth, parts = 0, [""]
    for letter in match[2]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    verdicts = [only_in_tests(part) for part in parts if part]
    return any(verdicts) if match[1] == "all" else bool(verdicts) and all(verdicts)


def without_tests(code):
    """The code that is compiled without `cfg(test)`."""
    kept, place = [], 0
    while place < len(code):
        if code[place].text == "#" and place + 1 < len(code) and code[place + 1].text == "[":
            stop = closing(code, place + 1)
            inside = "".join(token.text for token in code[place + 2:stop - 1])
            if inside.startswith("cfg(") and only_in_tests(inside[4:-1]):
                while code[stop].text == "#":
                    stop = closing(code, stop + 1)
                place = item_end(code, stop)
                continue
        kept.append(code[place])
        place += 1
    return kept


@dataclass
class Module:
    """A module: a file, or a block within one."""

    file: Path
    path: str
    parent: "Module | None" = None
    children: dict = field(default_factory=dict)
    items: set = field(default_factory=set)
    macros: set = field(default_factory=set)
    imports: dict = field(default_factory=dict)
    """Name to the path that a `use` gives it."""
    globs: list = field(default_factory=list)
    paths: list = field(default_factory=list)
    """Every path that the code names, as a tuple of its segments."""

    def root(self):
        return self.parent.root() if self.parent else self


@dataclass
class Function:
    file: Path
    name: str
    line: int
    lines: int


class Crate:
    """One compiled target and its tree of modules."""

    def __init__(self, name, file):
        self.name = name
        self.code = {}
        self.functions = []
        self.root = Module(file, name)
        self.read(self.root, file, file.parent)

    def read(self, module, file, folder):
        code = without_tests(tokens(file.read_text()))
        self.code[file] = code
        self.measure(file, code)
        self.walk(module, code, folder)

    def measure(self, file, code):
        for place, token in enumerate(code[:-1]):
            if token.text != "fn" or code[place + 1].kind != "word":
                continue
            body = place
            while code[body].text not in {"{", ";"}:
                body = closing(code, body) if code[body].text in {"(", "["} else body + 1
            if code[body].text == "{":
                last = code[closing(code, body) - 1].line
                self.functions.append(Function(file, code[place + 1].text, token.line, last - token.line + 1))

    def walk(self, module, code, folder):
        """Fills a module from its code; blocks within functions count as the module's own."""
        place, own_path = 0, None
        while place < len(code):
            token, after = code[place], code[place + 1] if place + 1 < len(code) else None
            if token.text == "#" and after and after.text == "[":
                inside = code[place + 2:closing(code, place + 1)]
                if len(inside) > 2 and inside[0].text == "path" and inside[1].text == "=":
                    own_path = inside[2].text.strip('"')
            if token.kind == "text":
                if match := PATH_IN_TEXT.fullmatch(token.text):
                    module.paths.append(tuple(match[1].split("::")))
            elif token.kind == "word" and token.text == "mod" and after and after.kind == "word":
                place = self.child(module, code, place, folder, own_path)
                own_path = None
                continue
            elif token.kind == "word" and token.text == "use" and after and after.text != "<":
                stop = item_end(code, place)
                while code[stop - 1].text != ";":
                    stop += 1
                self.use(module, code[place + 1:stop - 1], code[place - 1].text)
                place = stop
                continue
            elif token.kind == "word":
                place = self.word(module, code, place)
                continue
            place += 1

    def child(self, module, code, place, folder, own_path):
        name = code[place + 1].text
        child = Module(module.file, f"{module.path}::{name}", module)
        module.children[name] = child
        if code[place + 2].text == "{":
            stop = closing(code, place + 2)
            self.walk(child, code[place + 3:stop - 1], folder / name)
            return stop
        file, inner = folder / f"{name}.rs", folder / name
        if own_path:
            file = module.file.parent / own_path
            inner = file.parent / file.stem
        elif not file.exists():
            file = folder / name / "mod.rs"
        child.file = file
        self.read(child, file, inner)
        return place + 3

    def word(self, module, code, place):
        """Takes a definition or a path at `place`; gives the place after it."""
        text = code[place].text
        if text in DEFINERS:
            later = place + 1
            while later < len(code) and (code[later].text in NAMED_LATER or code[later].kind == "text"):
                later += 1
            if later < len(code) and code[later].kind == "word":
                module.items.add(code[later].text)
                return later + 1
            return place + 1
        if text == "macro_rules" and code[place + 1].text == "!":
            module.items.add(code[place + 2].text)
            module.macros.add(code[place + 2].text)
            return place + 3
        segments = [text]
        place += 1
        while place + 1 < len(code) and code[place].text == "::" and code[place + 1].kind == "word":
            segments.append(code[place + 1].text)
            place += 2
        if len(segments) > 1 or place < len(code) and code[place].text == "!":
            module.paths.append(tuple(segments))
        return place

    def use(self, module, code, before):
        exported = before in {"pub", ")"}

        def tree(start, prefix):
            """Reads one tree of a `use`; gives the place after it."""
            segments = list(prefix)
            place = start
            while place < len(code):
                text = code[place].text
                if text == "{":
                    stop, place = closing(code, place), place + 1
                    while place < stop - 1:
                        place = tree(place, segments)
                        place += code[place].text == "," if place < stop - 1 else 0
                    return stop
                if text == "*":
                    module.globs.append((tuple(segments), exported))
                    return place + 1
                if text in {",", "}"}:
                    break
                if text == "as":
                    module.imports[code[place + 1].text] = tuple(segments)
                    module.paths.append(tuple(segments))
                    return place + 2
                if text != "::":
                    segments.append(text)
                place += 1
            if segments[-1] == "self" and len(segments) > 1:
                segments.pop()
            module.imports[segments[-1]] = tuple(segments)
            module.paths.append(tuple(segments))
            return place

        tree(0, ())


class Resolver:
    """Finds the file that defines what a path names."""

    def __init__(self, crates):
        self.crates = {crate.name: crate.root for crate in crates}

    def start(self, module, segments, through_globs=True):
        """The module where a path begins and what is left of the path, or nothing for a path out of our crates."""
        head, rest = segments[0], segments[1:]
        if head == "crate":
            return module.root(), rest
        if head == "self":
            return module, rest
        if head == "super":
            while segments and segments[0] == "super" and module.parent:
                module, segments = module.parent, segments[1:]
            return module, segments
        if head in module.children or head in module.items or head in module.imports:
            return module, segments
        if head in self.crates:
            return self.crates[head], rest
        for inner, _ in module.globs if through_globs else ():
            if (found := self.glob(module, inner)) and found is not module and self.has(found, head):
                return found, segments
        return None

    def glob(self, module, segments):
        """The module that `use segments::*` opens, or nothing."""
        started = self.start(module, segments, through_globs=False)
        return self.descend(*started)[0] if started else None

    def has(self, module, name):
        return name in module.children or name in module.items or name in module.imports

    def descend(self, module, segments, seen=frozenset()):
        """The last module on a path, and the item of it that is named, if any."""
        while segments:
            head, rest = segments[0], segments[1:]
            if head in module.children:
                module, segments = module.children[head], rest
                continue
            if head in module.items or (module.path, head) in seen:
                return module, head
            seen = seen | {(module.path, head)}
            if head in module.imports:
                path = module.imports[head]
                started = None if path[0] == head and len(path) == 1 else self.start(module, path)
                return self.descend(*started, seen) if started and not rest else (
                    self.descend(started[0], started[1] + rest, seen) if started else (None, None))
            for inner, _ in module.globs:
                opened = self.glob(module, inner)
                if opened and opened is not module and self.has(opened, head):
                    return self.descend(opened, segments, seen)
            return module, head
        return module, None

    def definer(self, module, segments):
        """The module that defines the item a path names, and its name; nothing for a module or a foreign path."""
        if len(segments) == 1:
            return self.macro(module, segments[0])
        started = self.start(module, segments)
        if not started:
            return None
        found, name = self.descend(*started)
        return (found, name) if found and name else None

    def macro(self, module, name):
        """The module of a macro that is in scope because it stands above `mod x;`."""
        while module:
            if name in module.macros:
                return module, name
            module = module.parent
        return None


def modules(module):
    yield module
    for child in module.children.values():
        yield from modules(child)


def imports(crate, resolver):
    """Edges between the files of a crate: (importer, definer) to the names taken."""
    edges = defaultdict(set)
    for module in modules(crate.root):
        taken = [(path, resolver.definer(module, path)) for path in module.paths]
        for segments, exported in module.globs:
            opened = resolver.glob(module, segments)
            if opened and exported:
                taken.append((segments, (opened, "*")))
            elif opened:
                names = {t.text for t in crate.code[module.file] if t.kind == "word"}
                taken += [((n,), resolver.descend(opened, (n,))) for n in names if resolver.has(opened, n)]
        for _, found in taken:
            if found and found[1] and found[0].file != module.file and found[0].root() is crate.root:
                edges[module.file, found[0].file].add(found[1])
    return edges


def circles(edges):
    """The strongly connected groups of files, by Tarjan's algorithm."""
    following = defaultdict(list)
    for importer, definer in edges:
        following[importer].append(definer)
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in following[file]:
            if other not in index:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], index[other])
        if low[file] == index[file]:
            group = set()
            while file not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for file in list(following):
        if file not in index:
            visit(file)
    return sorted(found)


@cache
def tracked(root):
    """Every file that is, or is about to be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root, check=True, text=True, stdout=subprocess.PIPE,
    )
    return {root / line for line in listed.stdout.splitlines()}


def crates(root):
    """Every target of every package in the tree that is not a test, a benchmark or a build script."""
    found = []
    for manifest in sorted(f for f in tracked(root) if f.name == "Cargo.toml" and f.exists()):
        package = tomllib.loads(manifest.read_text())
        if "package" not in package:
            continue
        folder, name = manifest.parent, package["package"]["name"].replace("-", "_")
        library = folder / package.get("lib", {}).get("path", "src/lib.rs")
        binaries = [folder / b["path"] for b in package.get("bin", []) if "path" in b]
        binaries += [folder / "src/main.rs", *sorted((folder / "src/bin").glob("*.rs"))]
        if library.exists():
            found.append(Crate(package.get("lib", {}).get("name", name), library))
        found += [Crate(f"{name} ({b.relative_to(folder)})", b) for b in dict.fromkeys(binaries) if b.exists()]
    return found


def code_lines(code):
    """How many lines hold code."""
    lines = set()
    for token in code:
        lines.update(token.line + n for n, text in enumerate(token.text.split("\n")) if text.strip())
    return len(lines)


def complaints(root, wanted=()):
    """The faults that were found: a sentence or a circle each."""
    all_crates = crates(root)
    resolver = Resolver(all_crates)
    for crate in all_crates:
        if wanted and not any(crate.root.file.is_relative_to(root / w) or crate.name == w for w in wanted):
            continue
        edges = imports(crate, resolver)
        for group in circles(edges):
            told = [f"circle of {len(group)} files in {crate.name}:"]
            for (importer, definer), names in sorted(edges.items()):
                if importer in group and definer in group:
                    arrow = f"{importer.relative_to(root)} -> {definer.relative_to(root)}"
                    told.append(f"  {arrow}: {', '.join(sorted(names))}")
            yield "\n".join(told)
        for file in sorted(crate.code):
            lines = file.read_text().count("\n")
            if lines > MAX_FILE_LINES:
                yield f"{file.relative_to(root)}: {lines} lines, above {MAX_FILE_LINES}"
        for function in crate.functions:
            if function.lines > MAX_FUNCTION_LINES:
                place = f"{function.file.relative_to(root)}:{function.line}"
                yield f"{place}: `{function.name}` has {function.lines} lines, above {MAX_FUNCTION_LINES}"


def count(root):
    """Lines of code per package folder: every Rust file but tests and benchmarks, build scripts included."""
    packages = [f.parent for f in tracked(root) if f.name == "Cargo.toml"]
    reached = {file: code for crate in crates(root) for file, code in crate.code.items()}
    totals = Counter()
    for file in sorted(f for f in tracked(root) if f.suffix == ".rs" and f.exists()):
        inside = file.relative_to(root).parts
        if {"tests", "benches"} & set(inside):
            continue
        if file.name != "build.rs" and file not in reached:
            continue
        package = max((p for p in packages if file.is_relative_to(p)), key=lambda p: len(p.parts))
        code = reached.get(file) or without_tests(tokens(file.read_text()))
        totals[str(package.relative_to(root))] += code_lines(code)
    return totals


def main(arguments):
    if arguments == ["--lines"]:
        totals = count(ROOT)
        for package, lines in sorted(totals.items()):
            print(f"{lines:7,} {package}")
        print(f"{sum(totals.values()):7,} in all")
        return 0
    found = list(complaints(ROOT, arguments))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
