"""Why a file that is named is not really there, and the command that fetches it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loragit.dataset import not_there
from loragit.dataset.not_there import why_not_there

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"a" * 64)
KEY = f"SHA256E-s12345--{'b' * 64}.png"
OBJECT = f".git/annex/objects/2w/Xz/{KEY}/{KEY}"
REVISION = "c" * 40


def test_what_is_there_or_nowhere_at_all_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"weights")
    (tmp_path / "large").write_bytes(LFS + b"\0" * not_there.MAX_POINTER)
    (tmp_path / "link").symlink_to("small")
    os.mkfifo(tmp_path / "pipe")
    for name in ("small", "large", "link", "pipe", ".", "none", "small/none", "n" * 300, "a\0b"):
        assert why_not_there(tmp_path / name) is None, name


def test_a_git_lfs_pointer_is_fetched_in_its_own_repository(tmp_path: Path) -> None:
    models = tmp_path / "my models"
    models.mkdir()
    (models / "noob.safetensors").write_bytes(LFS)
    (tmp_path / "link").symlink_to(models / "noob.safetensors")
    for path in (models / "noob.safetensors", tmp_path / "link"):
        found = why_not_there(path)
        assert found is not None
        assert found.what == "a git-lfs pointer"
        assert found.hint == f"fetch it: git -C {shlex.quote(str(models))} lfs pull"
        assert found.fetch_all == found.fetch


def test_a_text_that_begins_as_a_pointer_and_is_none_is_a_file(tmp_path: Path) -> None:
    assert not_there.pointer(tmp_path / "a.png", LFS.replace(b"oid", b"old")) is None
    assert not_there.pointer(tmp_path / "a.png", b"/annex/objects/") is None
    assert not_there.pointer(tmp_path / "a.txt", b"../a caption, .git/annex/objects/x") is None


@pytest.mark.parametrize("up", ["", "../", "../../"])
def test_a_link_of_git_annex_is_got(tmp_path: Path, up: str) -> None:
    link = tmp_path / "a" / "b" / "0.png"
    link.parent.mkdir(parents=True)
    link.symlink_to(up + OBJECT)
    found = why_not_there(link)
    assert found is not None
    assert found.what == "a link of git-annex, whose content is not here"
    assert found.fetch == f"git -C {link.parent} annex get 0.png"
    assert found.fetch_all == f"git -C {link.parent} annex get ."


def test_a_link_to_a_link_of_git_annex_is_got_where_that_is(tmp_path: Path) -> None:
    (tmp_path / "annexed").mkdir()
    # The repository is a submodule.
    (tmp_path / "annexed" / "0.png").symlink_to("../.git/modules/x/annex/objects/a/b/k/k")
    (tmp_path / "mine.png").symlink_to("annexed/0.png")
    found = why_not_there(tmp_path / "mine.png")
    assert found is not None
    assert found.fetch == f"git -C {tmp_path / 'annexed'} annex get 0.png"


@pytest.mark.parametrize(
    "content",
    [
        f"/annex/objects/{KEY}\n",
        f"/annex/objects/{KEY}",
        f"../../{OBJECT}",  # a link where the file system knows none
        OBJECT,
    ],
)
def test_an_unlocked_file_of_git_annex_is_got(tmp_path: Path, content: str) -> None:
    (tmp_path / "0.png").write_text(content)
    found = why_not_there(tmp_path / "0.png")
    assert found is not None
    assert found.what == "a git-annex pointer"
    assert found.fetch == f"git -C {tmp_path} annex get 0.png"


def cached(cache: Path, repository: str, file: str) -> Path:
    """A file of a hub's cache, without its blob."""
    path = cache / repository / "snapshots" / REVISION / file
    path.parent.mkdir(parents=True)
    path.symlink_to("../" * (2 + file.count("/")) + "blobs/abcdef")
    return path


@pytest.mark.parametrize(
    ("repository", "file", "command"),
    [
        ("models--owner--name", "x.safetensors", "owner/name x.safetensors"),
        ("models--name", "unet/x.bin", "name unet/x.bin"),
        ("datasets--owner--name", "0.png", "owner/name 0.png --repo-type dataset"),
    ],
)
def test_a_file_of_a_hubs_cache_is_downloaded(
    tmp_path: Path, repository: str, file: str, command: str
) -> None:
    path = cached(tmp_path / ".cache" / "huggingface" / "hub", repository, file)
    link = tmp_path / "link"
    link.symlink_to(path)
    for each in (path, link):
        found = why_not_there(each)
        assert found is not None
        assert found.what == "a link into a hub's cache, whose file is gone"
        assert found.fetch == f"hf download {command} --revision {REVISION}"
        assert found.fetch_all == found.fetch.replace(f" {file}", "", 1)


def test_a_cache_elsewhere_is_named(tmp_path: Path) -> None:
    found = why_not_there(cached(tmp_path / "my cache", "models--owner--name", "x.safetensors"))
    assert found is not None
    assert found.fetch is not None
    assert found.fetch.endswith(f" --cache-dir {shlex.quote(str(tmp_path / 'my cache'))}")


def test_a_link_straight_to_a_blob_names_the_repository(tmp_path: Path) -> None:
    blob = tmp_path / ".cache" / "huggingface" / "hub" / "models--owner--name" / "blobs" / "abc"
    (tmp_path / "link").symlink_to(blob)
    found = why_not_there(tmp_path / "link")
    assert found is not None
    assert found.fetch == "hf download owner/name"


def test_a_path_into_a_cache_that_was_emptied_is_downloaded(tmp_path: Path) -> None:
    hub = tmp_path / ".cache" / "huggingface" / "hub"
    found = why_not_there(hub / "models--owner--name" / "snapshots" / REVISION / "x.safetensors")
    assert found is not None
    assert found.what == "a file of a hub's cache, which is gone"
    assert found.fetch == f"hf download owner/name x.safetensors --revision {REVISION}"


def test_any_other_link_names_its_target(tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("/mnt/none/x.png")
    found = why_not_there(tmp_path / "first")
    assert found is not None
    assert found.what == "a link to /mnt/none/x.png, which is not there"
    assert found.hint == "mend the link, or copy the file there"


def test_a_link_that_leads_to_itself_is_no_endless_walk(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    found = why_not_there(tmp_path / "a")
    assert found is not None
    assert found.what == "a link that leads to itself"


def test_a_file_in_a_folder_that_leads_nowhere_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to("/mnt/none")
    found = why_not_there(tmp_path / "models" / "sdxl" / "noob.safetensors")
    assert found is not None
    assert found.what == f"in {tmp_path}/models, which is a link to /mnt/none, which is not there"


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_other_content_is_a_file(data: bytes) -> None:
    assert not_there.pointer(Path("/none"), data) is None
