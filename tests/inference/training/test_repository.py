import json
import subprocess
from pathlib import Path

import pytest

from inference.formats import clamped
from inference.training import dataset, repository
from inference.training.dataset import write_dataset
from inference.training.repository import is_secret, listed_files, read_repository
from lsp_server.exclusions import secrets
from tests.support.toy_training import CODE

FILES = (".gitignore", ".lacunaignore", "a.py", "sub/b.py")
LEFT_OUT = (".env.py", "private/c.py", "build.py", "sub/key.pem", "not-code.bin")


@pytest.fixture(params=["git", "plain folder"])
def repo(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    for name in (*FILES, *LEFT_OUT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n{CODE}")
    (folder / ".gitignore").write_text("build.py\n")
    (folder / ".lacunaignore").write_text("private/\n")
    if request.param == "git":
        for command in (["init", "-q"], ["add", "-f", "a.py", "build.py", "private/c.py"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_what_ignore_rules_and_secret_globs_exclude_is_never_read(repo: Path) -> None:
    assert {document.path for document in read_repository(repo)} == {"a.py", "sub/b.py"}
    assert not {"build.py", "private/c.py"} & set(listed_files(repo))


def test_a_link_that_leads_out_is_not_followed(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("# outside\n" + CODE)
    (repo / "link.py").symlink_to(tmp_path / "outside.py")
    assert "link.py" not in {document.path for document in read_repository(repo)}


def test_the_secret_globs_are_those_of_the_server() -> None:
    assert repository.SECRETS == secrets.SECRETS
    assert is_secret("a/.ENV.local")
    assert is_secret(".aws/setup.py")
    assert is_secret("home/.AWS/sso/setup.py")
    assert not is_secret("aws/setup.py")
    assert not is_secret("a/environment.py")


def test_no_folder_and_no_git_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        listed_files(tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="install it"):
        listed_files(tmp_path)


def test_a_dataset_is_worded_as_the_server_words_it() -> None:
    assert (dataset.OPENING, dataset.BETWEEN, dataset.CLOSING) == (clamped._OPENING, clamped._BETWEEN, clamped._CLOSING)


def test_a_dataset_spells_the_files(repo: Path, tmp_path: Path) -> None:
    documents = read_repository(repo)
    target = tmp_path / "new" / "set.jsonl"
    count = write_dataset(documents, target, seed=0)
    rows = [json.loads(line)["messages"] for line in target.read_text().splitlines()]
    assert len(rows) == count > 10
    for user, assistant in rows:
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        suffix, _, rest = user["content"].partition("<suffix>\n")[2].rpartition("\n</suffix>\n<prefix>\n")
        prefix = rest.removesuffix("\n</prefix>")
        whole = {d.text.find(prefix + assistant["content"]) for d in documents}
        assert max(whole) >= 0  # what was before the gap and the answer follow each other in a file
        assert suffix == "" or assistant["content"].endswith(suffix.split("\n")[0] + ("\n" if "\n" in suffix else ""))
    with pytest.raises(FileExistsError, match="already"):
        write_dataset(documents, target, seed=0)
