"""docs/tracing.md: its recipe as it is written, with a collector of the tests, and the tests that it names."""

import re

from conftest import run_server
from support.collector import run_collector
from support.documents import ROOT, at, examples, install, run_shell
from test_layout import NAMED

TEXT = (ROOT / "docs" / "tracing.md").read_text()


def test_the_recipe(tmp_path: object) -> None:
    raise NotImplementedError
