"""Which files and functions of a workspace count, and what becomes of those that cannot be
served."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest
from conftest import Answer


def names(report: Any, kind: str = "tools") -> list[str]:
    return [each["name"] for each in report[kind]]


def tool(text: str = "def t(): ...", **others: str) -> dict[str, str]:
    return {"tools/a.py": text, **others}


def file(report: Any, path: str) -> Any:
    return next(each for each in report["files"] if each["path"] == path)


GOOD = {"tools/good.py": "def good(a: int) -> int: return a"}


# A file, and what is said of it. All are in one workspace, beside one that is good.
BAD_TOOLS = [
    ("def broken(:", "SyntaxError"),
    ("import no_such_module", "no_such_module"),
    ("raise ValueError('at import')", "ValueError: at import"),
    ("import sys; sys.exit(3)", "SystemExit"),
    ("raise BaseException('all')", "BaseException: all"),
    ("def t(*args): ...", "*args cannot be described"),
    ("def t(**kw): ...", "**kw cannot be described"),
    ("def t(a, /): ...", "positional only"),
    ("def t(self): ...", "a tool is a function, not a method"),
    ("def t(a: print): ...", "parameter 'a'"),
    ("import socket\ndef t(a: socket.socket): ...", "the type socket has no JSON schema"),
    ("from collections.abc import Callable\ndef t(a: Callable): ...", "no JSON schema"),
    ("def t(a: 'Nowhere'): ...", "Nowhere"),
    ("TOOLS = ['f']\nf = lambda: 1", "a lambda has no name"),
    ("__timeout__ = 'long'\ndef t(): ...", "__timeout__ must be a number"),
    ("__timeout__ = 0\ndef t(): ...", "__timeout__ must be more than 0"),
    ("__cache_ttl__ = 'x'\ndef t(): ...", "__cache_ttl__ must be a number"),
    ("__annotations_mcp__ = 5\ndef t(): ...", "__annotations_mcp__ must be a dict"),
    ("from fastmcp import Telepathy\n", "fastmcp.Telepathy is not part of"),
    ("from pydantic import model_validator\n", "pydantic.model_validator is not part of"),
    ("type X = int\ndef t(a: X): ...", "newer syntax does not load"),
]
BAD_OTHERS = [
    ("resources/r.py", "RESOURCE_URI = 'a://{x}'\ndef r(): ...", "no parameter 'x'"),
    ("resources/r.py", "RESOURCE_URI = 'a://b'\ndef r(x): ...", "not in the URI"),
    ("resources/r.py", "RESOURCE_URI = 'a://{x}'\ndef r(x, y): ...", "'y' needs a default"),
    ("resources/r.py", "RESOURCE_URI = 'a://{x'\ndef r(x): ...", "unbalanced braces"),
    ("resources/r.py", "RESOURCE_URI = 'a://{x!}'\ndef r(x): ...", "not understood"),
    ("resources/r.py", "RESOURCE_URI = 'nowhere'\ndef r(): ...", "is no URI"),
    ("resources/r.py", "RESOURCE_URI = 5\ndef r(): ...", "must be a text"),
    ("resources/r.py", "def r(): ...", "neither RESOURCE_URI nor RESOURCES"),
    ("resources/r.py", "RESOURCE_URI = 'a://b'\n", "no public function"),
    ("resources/r.py", "RESOURCES = {'a://b': 5}\n", "no function here"),
    ("resources/r.py", "RESOURCES = {'a://b': 'gone'}\n", "no function here"),
    ("prompts/p.py", "def p(*a): ...", "*a cannot be described"),
]


def test_a_bad_file_says_why_and_takes_no_other_down(describe: Any) -> None:
    files = [(f"tools/bad{i}.py", text, said) for i, (text, said) in enumerate(BAD_TOOLS)]
    for i, (path, text, said) in enumerate(BAD_OTHERS):
        files.append((path.replace(".py", f"{i}.py"), text, said))
    report = describe({**GOOD, **{path: text for path, text, _ in files}})
    assert names(report) == ["good"]
    assert len(report["errors"]) == len(files)
    for path, _, said in files:
        found = file(report, path)
        assert found["state"] == "failed" and said in found["error"], path


def test_one_bad_function_leaves_the_others_of_its_file(describe: Any) -> None:
    report = describe(tool("def a(x: print): ...\ndef b(x: int): ...\n"))
    assert names(report) == ["b"]
    assert "a: parameter 'x'" in report["errors"][0]


def test_an_error_names_the_line(describe: Any) -> None:
    report = describe(tool("x = 1\n\nraise ValueError('here')\n"))
    assert file(report, "tools/a.py")["line"] == 3
    assert report["errors"] == ["tools/a.py:3: ValueError: here"]


def test_strict_loading_lists_every_error(describe: Any) -> None:
    files = {**GOOD, "tools/a.py": "import nope_a", "prompts/b.py": "import nope_b"}
    with pytest.raises(ValueError, match=r"(?s)nope_a.*nope_b"):
        describe(files, "--strict")
    with pytest.raises(ValueError, match="nope_a"):
        describe(files, MCP_ENV="production")


def test_what_is_empty_on_purpose_is_no_error_even_when_strict(describe: Any) -> None:
    report = describe(
        {
            **GOOD,
            "tools/helpers.py": "def help_me(): ...",
            "tools/text_helpers.py": "def help_me(): ...",
            "tools/__init__.py": "def hidden(): ...",
            "tools/off.py": "__mcp_auto_register__ = False\ndef hidden(): ...",
        },
        "--strict",
    )
    assert names(report) == ["good"]
    assert file(report, "tools/off.py")["state"] == "empty"


def test_auto_mode_takes_the_files_own_public_functions_in_order(describe: Any) -> None:
    text = """
        from textwrap import dedent
        from functools import partial
        import json

        class C:
            def __call__(self): ...

        def b(): ...
        def a(): ...
        def _private(): ...
        c = C()
        d = partial(a)
        e = json.dumps
    """
    report = describe(
        {
            "tools/x.py": text,
            "tools/sub/y.py": "def nested(): ...",
            "prompts/p.py": "from textwrap import dedent\ndef mine(): ...",
        }
    )
    assert names(report) == ["a", "b"]
    assert names(report, "prompts") == ["mine"]


def test_the_list_of_tools_decides_names_and_order(describe: Any) -> None:
    text = """
        from shutil import which
        TOOLS = ["b", "a", "b", "which", "_c", "gone"]
        __mcp_auto_register__ = False
        def a(): ...
        def b(): ...
        def _c(): ...
        def d(): ...
    """
    report = describe(tool(text))
    assert names(report)[:2] == ["b", "a"]
    assert "d" not in names(report) and "_c" not in names(report)
    assert any("gone" in each for each in report["warnings"])


def test_a_list_of_tools_of_another_type_is_ignored(describe: Any) -> None:
    report = describe(tool("TOOLS = 'ab'\ndef a(): ...\ndef b(): ...\n"))
    assert names(report) == ["a", "b"]
    assert "TOOLS" in report["warnings"][0]


def test_decorators_of_fastmcp_change_nothing(describe: Any) -> None:
    text = """
        from fastmcp import FastMCP
        from fastmcp.tools import tool
        mcp = FastMCP("mine")

        @mcp.tool
        def a(): ...

        @mcp.tool(name="other")
        def b(): ...

        @tool
        def c(): ...

        if __name__ == "__main__":
            mcp.run()
    """
    assert names(describe(tool(text))) == ["a", "b", "c"]


def test_variables_of_the_file_are_in_its_definitions(describe: Any) -> None:
    text = """
        __tags__ = ["b", "a"]
        __timeout__ = 1.5
        __annotations_mcp__ = {"title": "T", "readOnlyHint": True, "own": 1}
        __required_scopes__ = ("s",)
        __rate_limit__ = "5/min"
        __cache_ttl__ = 30
        __max_memory_mb__ = 64
        __max_output_size_kb__ = 500
        def t(): ...
    """
    [made] = describe(tool(text))["tools"]
    assert made["title"] == "T"
    assert made["annotations"] == {
        "title": "T",
        "readOnlyHint": True,
        "own": 1,
        "requiredScopes": ["s"],
        "idempotentHint": True,
    }
    assert made["_meta"]["fastmcp"] == {"tags": ["a", "b"]}
    assert made["_meta"]["dev.headgate/tool"] == {
        "tags": ["b", "a"],
        "requiredScopes": ["s"],
        "rateLimit": "5/min",
        "cacheTtl": 30,
        "timeoutMs": 1500,
        "maxMemoryMb": 64,
        "maxOutputKb": 500,
        "file": "tools/a.py",
    }


def test_one_tag_as_a_text_is_one_tag(describe: Any) -> None:
    [made] = describe(tool("__tags__ = 'math'\ndef t(): ..."))["tools"]
    assert made["_meta"]["fastmcp"] == {"tags": ["math"]}


def test_a_rate_that_cannot_be_read_is_a_warning(describe: Any) -> None:
    report = describe(tool("__rate_limit__ = 'often'\ndef t(): ..."))
    assert "rateLimit" not in report["tools"][0]["_meta"]["dev.headgate/tool"]
    assert "'often' is not like 5/min" in report["warnings"][0]


TWICE = {"tools/a.py": "def t(): 'first'", "tools/b.py": "def t(): 'second'"}


@pytest.mark.parametrize(
    "policy, winner, errors, warnings",
    [("warn", "second", 0, 1), ("replace", "second", 0, 0), ("ignore", "first", 0, 0),
     ("error", "first", 1, 0)],
)  # fmt: skip
def test_duplicates(describe: Any, policy: str, winner: str, errors: int, warnings: int) -> None:
    report = describe(TWICE, MCP_ON_DUPLICATE_TOOLS=policy)
    assert [each["description"] for each in report["tools"]] == [winner]
    assert (len(report["errors"]), len(report["warnings"])) == (errors, warnings)


@pytest.mark.parametrize(
    "variable", ["MCP_ON_DUPLICATE_TOOLS", "MCP_STRICT_LOADING", "MCP_MAX_MEMORY_MB", "LOG_LEVEL"]
)
def test_an_option_that_cannot_be_understood_is_named(describe: Any, variable: str) -> None:
    with pytest.raises(ValueError, match=f"{variable}='maybe': say"):
        describe(GOOD, **{variable: "maybe"})


def test_files_that_are_too_large_or_blocked_are_left_out(describe: Any) -> None:
    files = {
        **GOOD,
        "tools/large.py": "#" * 2000 + "\ndef large(): ...",
        "tools/my_secrets.py": "def leak(): ...",
        "knowledge/a.md": "x",
        "knowledge/key.pem": "x",
        "knowledge/secrets/b.md": "x",
        "knowledge/.env": "x",
        "knowledge/program.exe": "x",
    }
    report = describe(files, MCP_MAX_SOURCE_FILE_SIZE_BYTES="1000")
    assert names(report) == ["good"]
    assert [each["uri"] for each in report["resources"]] == ["knowledge://a.md"]
    assert file(report, "tools/large.py")["state"] == "skipped"
    report = describe(files, SOURCE_BLOCKED_FILE_ALLOWLIST="tools/my_*,knowledge/secrets/*")
    assert "leak" in names(report)
    assert report["knowledge"]["files"] == 2


def test_knowledge_ends_at_its_limit_and_has_the_endings_allowed(describe: Any) -> None:
    files: dict[str, str | bytes] = {f"knowledge/{i}.MD": b"x" * 400 for i in range(3)}
    report = describe(files | {"knowledge/pic.png": b"\x89PNG"}, MCP_MAX_KNOWLEDGE_BYTES="1000")
    assert report["knowledge"] == {"files": 2, "bytes": 800}
    report = describe(files, MCP_ALLOWED_KNOWLEDGE_EXTENSIONS="PNG, txt")
    assert [each["mimeType"] for each in report["resources"]] == ["image/png"]


def test_knowledge_uris_can_hold_any_name(describe: Any) -> None:
    odd = ["My File.md", "a{x}.md", "q?.md", "h#.md", "50%.md", "sub dir/[1].md", "größe.md"]
    report = describe({f"knowledge/{each}": "x" for each in odd})
    uris = {each["uri"] for each in report["resources"]}
    assert "knowledge://My%20File.md" in uris and "knowledge://sub%20dir/%5B1%5D.md" in uris
    assert len(uris) == len(odd)
    assert all(not set(uri) & set(" {}[]#?") for uri in uris)


def test_links_do_not_lead_out_and_kubernetes_volumes_are_listed_once(
    describe: Any, workspace: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "o.md"
    outside.write_text("outside")
    root = workspace({"knowledge/..2026_01/note.md": "n"})
    os.symlink("..2026_01", root / "knowledge" / "..data")
    os.symlink("..data/note.md", root / "knowledge" / "note.md")
    os.symlink(outside, root / "knowledge" / "out.md")
    report = describe(root)
    assert [each["uri"] for each in report["resources"]] == ["knowledge://note.md"]
    assert "leads out" in file(report, "knowledge/out.md")["error"]


def test_a_file_that_becomes_a_link_that_leads_out_is_not_read(
    serve: Any, tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "o.md"
    outside.write_text("outside")
    client = serve({"knowledge/a.md": "inside"})
    read = client.request("resources/read", uri="knowledge://a.md")
    assert read["contents"][0]["text"] == "inside"
    (tmp_path / "knowledge" / "a.md").unlink()
    (tmp_path / "knowledge" / "a.md").symlink_to(outside)
    with pytest.raises(Answer, match="leads out"):
        client.request("resources/read", uri="knowledge://a.md")


def test_siblings_are_imported_once_and_as_what_is_served(serve: Any) -> None:
    client = serve(
        {
            "tools/counter.py": """
                n = 0
                def step() -> int:
                    global n
                    n += 1
                    return n
            """,
            "tools/double.py": """
                import counter
                def twice() -> int:
                    counter.step()
                    return counter.step()
            """,
            "tools/pack/__init__.py": "WORD = 'packed'",
            "tools/uses.py": "from pack import WORD\ndef word() -> str: return WORD",
        }
    )
    assert client.text("step") == "1"
    assert client.text("twice") == "3"
    assert client.text("word") == "packed"


def test_tool_packages_are_found_and_files_of_the_workspace_replace_theirs(
    describe: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = tmp_path_factory.mktemp("site")
    package = site / "my_tools"
    (package / "tools").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import pathlib\nclass Pack: TOOLS_DIR = pathlib.Path(__file__).parent / 'tools'\n"
    )
    (package / "tools" / "__init__.py").write_text("")
    (package / "tools" / "one.py").write_text("def one(): 'packaged'")
    (package / "tools" / "two.py").write_text("def two(): 'packaged'")
    info = site / "my_tools-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-tools\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[fastmcp_tools]\nmine = my_tools:Pack\nbroken = my_tools:Nothing\n"
    )
    report = describe({"tools/mine_two.py": "def two(): 'local'"}, HEADGATE_PYTHON_SITE=str(site))
    said = {each["name"]: each["description"] for each in report["tools"]}
    assert said == {"one": "packaged", "two": "local"}
    assert any("package broken" in each for each in report["warnings"])
    assert file(report, "tools/mine_one.py")["state"] == "loaded"


def test_a_thread_that_a_file_starts_is_a_warning(describe: Any) -> None:
    text = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
    assert "thread" in describe(tool(text))["warnings"][0]


def test_what_a_file_prints_while_it_loads_is_logged_not_answered(serve: Any) -> None:
    client = serve(tool("print('loading')\ndef t(): return 'x'"))
    assert client.text("t") == "x"
    [line] = client.logged()
    assert (line["tool"], line["message"]) == ("tools/a.py", "loading")


def test_a_missing_workspace_is_an_error(describe: Any, tmp_path: pathlib.Path) -> None:
    assert "no such folder" in describe(tmp_path / "nowhere")["errors"][0]
