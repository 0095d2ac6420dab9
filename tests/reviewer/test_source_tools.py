"""The tools that list and read source files, run as the loop runs them."""

import hashlib

import pytest
from anthropic.lib.tools import ToolError

from memory_demo.source_tools import list_sources_tool, read_source_tool


@pytest.fixture
def files(tmp_path):
    """A hundred and two files, by names of their own."""
    paths = {f"src/m{number:03}.py": tmp_path / f"m{number:03}.py" for number in range(102)}
    for path in paths.values():
        path.write_bytes(b"\xef\xbb\xbfx = 'caf\xc3\xa9'\r\n")
    return paths


DIGEST = hashlib.sha256(b"\xef\xbb\xbfx = 'caf\xc3\xa9'\r\n").hexdigest()


def test_a_listing_gives_path_size_and_digest_and_says_what_is_left_out(files):
    *rows, more = list_sources_tool(files).call({}).splitlines()
    assert rows[0] == f"src/m000.py\t16\t{DIGEST}" and len(rows) == 100
    assert more == "and 2 more; give a longer part of the path"
    assert list_sources_tool(files).call({"containing": "m101"}) == f"src/m101.py\t16\t{DIGEST}"
    assert list_sources_tool(files).call({"containing": "secret"}) == "There is no such file to read."


def test_a_file_that_is_gone_is_listed_as_one_that_cannot_be_read(files):
    files["src/m000.py"].unlink()
    assert list_sources_tool(files).call({"containing": "m000"}) == "src/m000.py\t-\tcannot be read"
    with pytest.raises(ToolError, match="cannot be read any more"):
        read_source_tool(files).call({"path": "src/m000.py"})


def test_a_file_is_read_as_it_is_and_its_digest_is_the_last_line(files):
    assert read_source_tool(files).call({"path": "src/m007.py"}) == (
        f"x = 'caf\u00e9'\r\n\n[src/m007.py: 16 bytes, SHA-256 {DIGEST}]"
    )


def test_a_file_that_was_not_offered_is_not_read(files, tmp_path):
    (tmp_path / "canary.py").write_text("KEY = 'canary'", "utf-8")
    with pytest.raises(ToolError, match="There is no file"):
        read_source_tool(files).call({"path": str(tmp_path / "canary.py")})
