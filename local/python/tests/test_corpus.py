"""The functions of corpus/ are listed, called and answered as is expected: as PyPI's fastmcp does,
but for what docs/local-differences.md lists (`./dev schemas` makes the expectations)."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sysconfig
from typing import Any

import pytest
from jsonschema import Draft202012Validator

CORPUS = pathlib.Path(__file__).parent / "corpus"


@pytest.mark.parametrize("file", ["native", "models", "returned"])
def test_the_corpus_is_as_expected(file: str) -> None:
    sites = [sysconfig.get_path("purelib")] if file == "models" else []
    done = subprocess.run(
        ["/usr/bin/python3", CORPUS / "ours.py", CORPUS / f"{file}.py", *sites],
        capture_output=True,
        check=True,
    )
    ours: Any = json.loads(done.stdout)
    wrong = []
    for kind, name, expected in json.loads((CORPUS / "expected" / f"{file}.json").read_text()):
        got = ours[kind].get(name)
        if kind == "values":
            got = {str(i): each for i, each in enumerate(got) if each is not None}
        if got != expected:
            wrong.append((kind, name, expected, got))
    assert not wrong


@pytest.mark.parametrize("file", ["native", "models"])
def test_every_schema_of_the_corpus_is_a_schema(file: str) -> None:
    for kind, _, said in json.loads((CORPUS / "expected" / f"{file}.json").read_text()):
        if kind == "schemas":
            for name in {"inputSchema", "outputSchema"} & set(said):
                Draft202012Validator.check_schema(said[name])
