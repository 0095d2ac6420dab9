"""pyproject.toml is the one list: what is imported stands in it, and the lock is made from it."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "pyproject.toml").read_text("utf-8")
PROJECT = tomllib.loads(TEXT)["project"]
BASE, EXTRAS = PROJECT["dependencies"], PROJECT["optional-dependencies"]
PROVIDED_BY = importlib.metadata.packages_distributions()
OURS = {"memory_tool", "memory_screens", "memory_stores", "memory_demo", "demo_helpers", "scripts"}


def names(requirements):
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def imported(path):
    """The distributions whose modules a file imports, at whatever place in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        else:
            continue
        for module in {module.partition(".")[0] for module in modules} - OURS - set(sys.stdlib_module_names):
            yield module, {canonicalize_name(name) for name in PROVIDED_BY.get(module, [module])}


def undeclared(paths, requirements):
    """What is imported and not declared. The SDK's own requirements count: its types and transport are made of them."""
    declared = names(requirements) | names(importlib.metadata.requires("anthropic"))
    return {
        f"{path.relative_to(ROOT)}: {module}"
        for path in paths
        for module, distributions in imported(path)
        if not distributions & declared
    }


def test_what_the_package_imports_is_declared():
    modules = [ROOT / "memory_tool.py", ROOT / "memory_screens.py"]
    modules += [*(ROOT / "memory_stores").rglob("*.py"), *(ROOT / "memory_demo").rglob("*.py")]
    modules = [path for path in modules if "sample_code" not in path.parts]
    extras = [requirement for extra in EXTRAS.values() for requirement in extra]
    assert len(modules) > 40
    assert undeclared(modules, [*BASE, *extras]) == set()
    assert "scipy" in {module for path in modules for module, _ in imported(path)}


@pytest.mark.parametrize("module", ["memory_tool.py", "memory_screens.py", "memory_demo/demo_helpers.py"])
def test_what_people_copy_needs_base_dependencies_only(module):
    assert undeclared([ROOT / module], BASE) == set()


def test_every_dependency_has_a_reason_beside_it():
    listed = [line for line in TEXT.splitlines() if re.match(r'    "\S+[<>]', line)]
    assert len(listed) == len(BASE) + sum(map(len, EXTRAS.values()))
    assert [line for line in listed if not re.search(r"# .{9,}", line)] == []


def test_the_lock_pins_every_dependency_within_its_bounds():
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.M)
    }
    for requirement in map(Requirement, BASE + [each for extra in EXTRAS.values() for each in extra]):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"make lock: {requirement} but {version} is pinned"
