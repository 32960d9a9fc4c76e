"""Builds the package with the standard library alone, so that no index is asked for a builder (PEP 517, 660, 427)."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "chaperone_client"


def _project() -> tuple[dict[str, object], dict[str, list[str]]]:
    """Project and extras of pyproject.toml. Python 3.10 reads no TOML; what is written there is Python's syntax too."""
    tables: dict[str, dict[str, object]] = {}
    table = ""
    for line in (ROOT / "pyproject.toml").read_text("utf-8").splitlines():
        if head := re.fullmatch(r"\[(.+)\]", line):
            table = head[1]
        elif pair := re.fullmatch(r"([\w-]+) = (.+)", line):
            tables.setdefault(table, {})[pair[1]] = ast.literal_eval(pair[2])
    optional = tables["project.optional-dependencies"]
    extras = {name: list(value) for name, value in optional.items()}  # type: ignore[call-overload]
    return tables["project"], extras


PROJECT, EXTRAS = _project()
NAME = f"{str(PROJECT['name']).replace('-', '_')}-{PROJECT['version']}"


def _metadata() -> str:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {PROJECT['name']}",
        f"Version: {PROJECT['version']}",
        f"Summary: {PROJECT['description']}",
        f"License-Expression: {PROJECT['license']}",
        f"Requires-Python: {PROJECT['requires-python']}",
        "Description-Content-Type: text/markdown",
    ]
    for extra, needs in EXTRAS.items():
        lines.append(f"Provides-Extra: {extra}")
        lines.extend(f'Requires-Dist: {need}; extra == "{extra}"' for need in needs)
    return "\n".join([*lines, "", (ROOT / "README.md").read_text("utf-8")])


def _sources() -> dict[str, bytes]:
    files = [*(ROOT / PACKAGE).glob("*.py"), ROOT / PACKAGE / "py.typed"]
    return {f"{PACKAGE}/{path.name}": path.read_bytes() for path in sorted(files)}


def _wheel(folder: str, files: dict[str, bytes]) -> str:
    info = f"{NAME}.dist-info"
    wheel = (
        "Wheel-Version: 1.0\nGenerator: chaperone-offline\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files = {**files, f"{info}/METADATA": _metadata().encode(), f"{info}/WHEEL": wheel.encode()}
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name = f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            # The time of each is that of the format's beginning: the same sources, the same wheel.
            entry = zipfile.ZipInfo(path)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return name


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    return _wheel(wheel_directory, _sources())


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    return _wheel(wheel_directory, {f"{PACKAGE}.pth": f"{ROOT}\n".encode()})


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    own = ["pyproject.toml", "README.md", "build_backend/offline.py"]
    files = {
        **_sources(),
        **{path: (ROOT / path).read_bytes() for path in own},
        "PKG-INFO": _metadata().encode(),
    }
    name = f"{NAME}.tar.gz"
    with tarfile.open(Path(sdist_directory) / name, "w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"{NAME}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return name
