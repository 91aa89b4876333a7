import hashlib
import io
import json
import re
import tarfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from inference.training import corpus
from inference.training.corpus import Document, Source, build, documents, is_allowed, is_worth_learning, read_manifest
from inference.training.decontamination import Benchmarks, pack, run_hashes

CODE = "import os\n\n\ndef names(folder):\n    return sorted(entry.name for entry in os.scandir(folder))\n" * 2


def test_every_source_has_an_allowed_licence() -> None:
    for source in read_manifest():
        assert is_allowed(source.licence), source.name


def test_every_source_is_pinned() -> None:
    for source in read_manifest():
        assert re.fullmatch("[0-9a-f]{64}", source.sha256), source.name
        assert source.version.replace(":", "%3a") in source.archive, source.name  # as Debian writes file names
        assert source.files > 0, source.name
        assert source.bytes > 0, source.name


def test_whole_packages_are_held_out() -> None:
    sources = read_manifest()
    held_out = {source.name.lower() for source in sources if source.split == "held_out"}
    assert not held_out & {source.name.lower() for source in sources if source.split == "train"}
    assert sum(s.registry == "pypi" for s in sources if s.split == "held_out") >= 4
    assert sum(s.registry == "npm" for s in sources if s.split == "held_out") >= 1
    assert sum(s.registry == "debian" for s in sources if s.split == "held_out") >= 2  # Go and Rust


def test_no_committed_file_names_a_registry_host() -> None:
    for path in Path(corpus.__file__).parent.iterdir():
        if path.suffix in {".py", ".json", ".txt"}:
            assert not re.search(r"https?:|index-url|--registry", path.read_text()), path.name


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [("MIT", True), ("Apache-2.0 OR BSD-2-Clause", True), ("MIT AND GPL-3.0-only", False), ("", False)],
)
def test_licence_expressions(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        (CODE, True),
        ("x = 1\n", False),
        ("# This file was automatically generated, do not edit\n" + CODE, False),
        ("var a=" + "f(1);" * 200, False),
        ("\n".join("0.123, 4.567, 8.901, 2.345" for _ in range(60)), False),
        (CODE + "\0", False),
        (CODE * 3000, False),
    ],
    ids=["source", "too short", "generated", "minified", "numbers", "binary", "too long"],
)
def test_what_is_worth_learning(text: str, worth: bool) -> None:
    assert is_worth_learning(Document("p", "a.py", "python", text)) is worth


def test_documents_of_a_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/a.py", CODE)
        archive.writestr("p/_vendor/b.py", CODE)
        archive.writestr("p/c.so", b"\x7fELF")
        archive.writestr(
            "p-1.dist-info/METADATA", "Description-Content-Type: text/markdown\n\n# P\n\n" + "Some words. " * 30
        )
    assert {(document.path, document.language) for document in documents(wheel, "p")} == {
        ("p/a.py", "python"),
        ("p-1.dist-info/METADATA", "markdown"),
    }


def tarball(path: Path, files: dict[str, str]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_documents_of_a_debian_package(tmp_path: Path) -> None:
    tarball(tmp_path / "data.tar.gz", {"usr/share/gocode/src/p/a.go": CODE, "usr/share/doc/copyright": CODE})
    data = (tmp_path / "data.tar.gz").read_bytes()
    parts = [("debian-binary", b"2.0\n"), ("control.tar.gz", b"odd"), ("data.tar.gz", data)]
    deb = tmp_path / "p_1_all.deb"
    content = b"!<arch>\n"
    for name, body in parts:
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
        )
    deb.write_bytes(content)
    assert [(d.path, d.language) for d in documents(deb, "p")] == [("package/usr/share/gocode/src/p/a.go", "go")]
    deb.write_bytes(content[: -60 - len(data)])
    with pytest.raises(ValueError, match=r"no data\.tar"):
        list(documents(deb, "p"))


def test_build_checks_hashes_and_keeps_held_out_text_out_of_training(tmp_path: Path) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    shared, own = {"a.js": CODE}, {"a.js": CODE, "b.js": CODE.replace("names", "titles")}
    held = Source(
        "held", "1", "npm", "tarball", "MIT", "held_out", "held-1.tgz", tarball(archives / "held-1.tgz", shared), 0, 0
    )
    train = replace(
        held, name="train", split="train", archive="train-1.tgz", sha256=tarball(archives / "train-1.tgz", own)
    )
    manifest = tmp_path / "manifest.json"
    corpus.write_manifest([train, held], manifest)
    build(tmp_path, manifest)
    assert [document.path for document in corpus.read_corpus(tmp_path, "held_out")] == ["a.js"]
    assert [document.path for document in corpus.read_corpus(tmp_path, "train")] == ["b.js"]

    manifest.write_text(json.dumps({"version": 1, "sources": [asdict(replace(train, sha256="0" * 64))]}))
    with pytest.raises(ValueError, match="SHA-256"):
        build(tmp_path, manifest)
    manifest.write_text(json.dumps({"version": 1, "sources": [asdict(replace(train, licence="GPL-3.0-only"))]}))
    with pytest.raises(ValueError, match="allowed list"):
        build(tmp_path, manifest)


def test_two_shared_runs_or_one_and_a_name_are_a_leak() -> None:
    problem = "def shiny_name(a, b):\n    return a * b + a * b + a * b\n"
    hashes = list(run_hashes(problem))
    assert len(hashes) > 2
    both = Benchmarks(frozenset(hashes), frozenset())
    assert both.leak_into("x = 1\n" + problem)
    assert not both.leak_into("x = 1\n")
    one = frozenset(hashes[-1:])
    assert not Benchmarks(one, frozenset()).leak_into(problem)
    assert Benchmarks(one, frozenset({"shiny_name"})).leak_into(problem)


def test_the_benchmarks_are_there_and_packing_is_repeatable() -> None:
    benchmarks = Benchmarks.load()
    assert len(benchmarks.hashes) > 50_000
    assert len(benchmarks.names) > 500
    assert pack(["ff", "01", "ff"]) == pack(["01", "ff"])
