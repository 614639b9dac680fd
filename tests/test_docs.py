"""What the documentation claims is what the code does."""

import re
from pathlib import Path

from coutil._coroutines.states import OBJECT, OPERATION, table

ROOT = Path(__file__).parents[1]


def test_the_tables_of_the_architecture_are_those_of_the_code():
    """Both state machines are printed in docs/architecture.md, row by row."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert table(OPERATION) in text
    assert table(OBJECT) in text
    assert [arrow.number for arrow in OPERATION] == list(range(1, 11))
    assert [arrow.number for arrow in OBJECT] == list(range(1, 10))


def test_every_path_named_in_the_documents_exists():
    """A reader who follows a path in README.md or docs/ finds it."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {word for page in pages for word in re.findall(r"`([a-z_/]+/[a-z_]*\.?[a-z]*)`", page.read_text("utf-8"))}
    assert "examples/timeout.py" in named
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "coutil"))]
    assert missing == []
