"""The documentation says what is: examples run, links lead somewhere, options and tables agree.

An example that is complete has a comment before it, and is run from the project's root:

    <!-- run -->                                in a namespace of its own
    <!-- run, continued -->                     in the namespace of the example before
    <!-- run, raises AssertionError -->         it has to raise this (also with `continued`)

`python tests/test_docs.py --write` writes the table of planted defects anew.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from pathlib import Path

import pytest

from desvelo import Finding, explore
from desvelo.cli import _parser
from desvelo.schedule.policies import policy_names
from vigia_reference.defects import DEFECTS

ROOT = Path(__file__).parent.parent
OURS = (
    "README",
    "architecture",
    "schedules",
    "machines",
    "faults",
    "cancellation",
    "threads",
    "databases",
    "oracles",
    "findings",
    "leaks",
    "targets",
    "cli",
    "reports",
    "history",
    *(
        f"phases/{name}"
        for name in (
            "index",
            "baseline",
            "load",
            "endurance",
            "memory",
            "io",
            "database",
            "webhook",
            "full-system",
        )
    ),
)
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in OURS[1:])]
EVERY = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
TARGETS = ROOT / "docs" / "targets.md"

EXAMPLE = re.compile(
    r"^<!-- run(?P<continued>, continued)?(?:, raises (?P<error>\w+))? -->\n"
    r"```python\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


# examples


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_examples_of_this_page_run(page, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = text_of(page)
    names: dict[str, object] = {}
    for found in EXAMPLE.finditer(text):
        line = text[: found.start("code")].count("\n")
        code = compile("\n" * line + found["code"], str(page), "exec")
        if not found["continued"]:
            names = {"__name__": f"example_at_line_{line + 1}"}
        try:
            exec(code, names)
        except Exception as error:
            if type(error).__name__ != found["error"]:
                raise
        else:
            assert not found["error"], f"line {line + 1}: {found['error']} was not raised"


def test_there_are_examples_and_every_mark_is_followed_by_one():
    marks = [
        mark
        for page in PAGES
        for mark in re.findall(r"^<!-- run.*-->$", text_of(page), re.MULTILINE)
    ]
    examples = [found for page in PAGES for found in EXAMPLE.finditer(text_of(page))]
    assert len(examples) == len(marks) >= 10


# links and names


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", without_code(text_of(page))):
        if not re.match(r"https?://", target):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_named_files_exist(page):
    named = re.findall(
        r"`((?:\./)?(?:desvelo|stress_tests|strategies|targets|vigia_reference|examples|scripts|"
        r"tests|docs|benchmarks)/[\w./]*)`",
        without_code(text_of(page)),
    )
    for name in named:
        if name not in {"tests/test_x.py", "tests/test_stored_once.py"}:
            assert (ROOT / name).exists(), f"{name_of(page)} names {name}"


def test_every_page_can_be_reached_from_the_readme():
    readme = text_of(ROOT / "README.md")
    for page in PAGES[1:]:
        assert f"({name_of(page)})" in readme


# options


def commands() -> dict[str, argparse.ArgumentParser]:
    [commands] = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(commands.choices)


def sections(page: Path) -> dict[str, str]:
    """Return the text below each heading of the second level."""
    parts = re.split(r"^## (.*)$", text_of(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("command", commands())
def test_every_option_of_a_command_is_documented(command):
    [section] = [
        text
        for heading, text in sections(ROOT / "docs" / "cli.md").items()
        if heading.startswith(f"`desvelo {command}")
    ]
    for action in commands()[command]._actions:
        for option in action.option_strings:
            if option not in {"-h", "--help"}:
                assert re.search(rf"`{option}[ `]", section), f"{command} {option}"


def test_no_option_is_documented_that_does_not_exist():
    for heading, text in sections(ROOT / "docs" / "cli.md").items():
        known = {"--fuzz-budget", "--target", "--replay", "--findings"}
        known |= {"--fuzz-policy", "--fuzz-seed", "--leak-check"}
        known |= {"--phase", "--stress-profile", "--stress-report", "--thresholds"}
        if heading.startswith("`desvelo "):
            parser = commands()[heading.split()[1].strip("`")]
            known = {option for action in parser._actions for option in action.option_strings}
        named = set(re.findall(r"^\| `(--[\w-]+)", text, flags=re.MULTILINE))
        assert named <= known, heading


def plugin_options(pytestconfig: pytest.Config) -> set[str]:
    [group] = [g for g in pytestconfig._parser._groups if g.name == "desvelo"]
    return {name for option in group.options for name in option.names()}


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_every_option_of_the_pytest_plugin_is_documented(page, pytestconfig):
    text = text_of(ROOT / page)
    for option in plugin_options(pytestconfig):
        assert re.search(rf"`{option}[=`]", text), option


def test_every_policy_is_documented():
    for page in ("README.md", "docs/cli.md", "docs/schedules.md"):
        text = text_of(ROOT / page)
        for policy in policy_names():
            assert f"`{policy}`" in text, f"{policy} in {page}"


# tables


def defects_table() -> str:
    head = ["name", "kind", "where", "what breaks", "operations", "deviations"]
    rows = [
        [f"`{d.name}`", d.kind, f"`{d.where}`", d.breaks, str(d.operations), str(d.deviations)]
        for d in DEFECTS.values()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def with_defects(text: str) -> str:
    begin, end = "<!-- defects -->\n", "<!-- end of defects -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{defects_table()}\n\n{len(DEFECTS)} planted defects.\n{end}{after}"


def test_the_table_of_planted_defects_is_up_to_date():
    assert with_defects(text_of(TARGETS)) == text_of(TARGETS), "python tests/test_docs.py --write"


def test_every_field_of_a_finding_is_documented():
    finding = explore(str(ROOT / "examples/lost_update.py"), seed=1, max_seconds=30)
    assert isinstance(finding, Finding)
    table = text_of(ROOT / "docs/findings.md").partition("<!-- fields -->")[2]
    documented = {
        name
        for cell in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert documented == set(json.loads(json.dumps(finding.to_json())))


# the map


def layers() -> tuple[dict[str, int], set[tuple[str, str]]]:
    """Return the layer of each part, and who imports whom within one layer."""
    listed = text_of(ROOT / "docs/architecture.md").partition("<!-- layers -->\n")[2]
    known, allowed = {}, set()
    for line in listed.splitlines():
        if not re.match(r"\d+\. ", line):
            break
        parts = re.findall(r"`(\w+)`", line)
        known |= dict.fromkeys(parts, int(line.partition(".")[0]))
        allowed |= set(re.findall(r"`(\w+)` → `(\w+)`", line))
    return known, allowed


def test_imports_point_the_way_the_map_says():
    known, allowed = layers()
    for path in (ROOT / "desvelo").rglob("*.py"):
        inside = path.relative_to(ROOT / "desvelo").with_suffix("").parts
        if inside == ("__init__",):
            continue
        part = inside[0]
        assert part in known, f"docs/architecture.md does not list {part}"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in imported(node):
                below = known[part] < known[name] or (part, name) in allowed
                assert part == name or below, f"{path.name} of {part} imports {name}"


def imported(node: ast.stmt) -> list[str]:
    """Return the parts of desvelo that a statement imports."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module == "desvelo":
        names = [f"desvelo.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    else:
        return []
    return [name.split(".")[1] for name in names if name.startswith("desvelo.")]


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_docs.py --write")
    TARGETS.write_text(with_defects(text_of(TARGETS)), encoding="utf-8")
