#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real model files and traps: every byte comes back at every level, and hostile files do no harm.

Needs the shared corpus: MMH_SHARED, else ../shared; without it the tests are skipped and say so.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import LIMIT, LOST, OK, UNSUPPORTED, USAGE, main, mmh, shared, tree

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

PWNED = Path("/tmp/mmh_pwned")  # what the hostile files would make if something ran their code
HOSTILE_SECONDS = 5
CLEAN = (OK, USAGE, LOST, UNSUPPORTED, LIMIT)  # what looking at a hostile file may end with


def files(*folders):
    """Regular files beneath folders of the corpus."""
    corpus = shared() / "corpus"
    found = sorted(
        path for folder in folders for path in (corpus / folder).rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert found, f"nothing in {corpus}"
    return found


def assert_comes_back(source, folder, level, peak=False):
    packed, restored = folder / "x.mmh", folder / "restored"
    pack = mmh("pack", f"-{level}", "--alone", "-q", "-f", source, "-o", packed, code=OK, timeout=600, peak=peak)
    verify = mmh("verify", "-q", packed, code=OK, timeout=600, peak=peak)
    unpack = mmh("unpack", "-q", "-f", packed, "-o", restored, code=OK, timeout=600, peak=peak)
    assert restored.read_bytes() == source.read_bytes(), (source, level)
    return pack, verify, unpack


def assert_corpus(folder, level):
    hostile = shared() / "corpus" / "traps" / "hostile"
    for source in files("."):
        if hostile not in source.parents:
            assert_comes_back(source, folder, level)


def test_corpus_comes_back_at_level_1(tmp_path):
    assert_corpus(tmp_path, 1)


def test_corpus_comes_back_at_level_5(tmp_path):
    assert_corpus(tmp_path, 5)


def test_corpus_comes_back_at_level_9(tmp_path):
    assert_corpus(tmp_path, 9)


def test_valid_traps_come_back_at_every_level(tmp_path):
    for source in files("traps/valid"):
        for level in range(1, 10):
            assert_comes_back(source, tmp_path, level)


def test_corpus_comes_back_as_one_folder(tmp_path):
    corpus = shared() / "corpus"
    before = tree(corpus)
    mmh("pack", "-2", corpus, "-o", tmp_path / "corpus.mmh", code=OK, timeout=600)
    mmh("verify", tmp_path / "corpus.mmh", code=OK, timeout=600)
    mmh("unpack", tmp_path / "corpus.mmh", "-o", tmp_path / "out", code=OK, timeout=600)
    after = tree(tmp_path / "out")
    for path in (p for p in [tmp_path / "out", *(tmp_path / "out").rglob("*")] if p.is_dir()):
        path.chmod(0o755)  # so that the folder can be removed
    assert after == before


def with_links(unit, target):
    """A copy of a unit's folder with what hubs and people leave in one: modes, links, an empty folder."""
    shutil.copytree(unit, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    first = min(path for path in target.rglob("*") if path.is_file())
    first.chmod(0o600)
    (target / "link-to-it").symlink_to(first.relative_to(target))
    (target / "blobs").mkdir(mode=0o700)
    shutil.copyfile(first, target / "blobs" / "0123abcd")
    (target / "snapshots" / "main").mkdir(parents=True)
    (target / "snapshots" / "main" / first.name).symlink_to(Path("../../blobs/0123abcd"))
    os.link(first, target / "hard-link")
    (target / "empty").mkdir(mode=0o711)
    (target / "large-file-pointer.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4\n"
    )


def test_units_come_back_as_folders_with_modes_and_links(tmp_path):
    shared()
    import corpus_units

    found = [unit for unit in corpus_units.units() if unit.is_dir()]
    assert found, "no unit of the corpus is a folder"
    for number, unit in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        with_links(unit, folder / "in")
        before = tree(folder / "in")
        for level in (1, 5):
            packed, out = folder / f"{level}.mmh", folder / f"out-{level}"
            mmh("pack", f"-{level}", "-q", folder / "in", "-o", packed, code=OK, timeout=600)
            mmh("verify", "-q", packed, code=OK, timeout=600)
            mmh("unpack", "-q", packed, "-o", out, code=OK, timeout=600)
            assert tree(out) == before, (unit, level)


def assert_harmless(result, source):
    """In little time, and in little memory for what the file is."""
    sanitized = "asan" in os.environ.get("MMH_BUILD", "")
    assert result.code in CLEAN, (source, result)
    assert sanitized or result.seconds < HOSTILE_SECONDS, (source, result.seconds)
    most = (64 << 20) + 4 * source.stat().st_size
    assert sanitized or result.peak <= most, (source, result.peak, most, result)


def test_hostile_files_do_no_harm(tmp_path):
    PWNED.unlink(missing_ok=True)
    work = tmp_path / "work"
    work.mkdir()
    for source in files("traps/hostile"):
        for level in (1, 5, 9):
            for result in assert_comes_back(source, work, level, peak=True):
                assert_harmless(result, source)
            assert sorted(path.name for path in work.iterdir()) == ["restored", "x.mmh"], source
        mmh("ls", "-l", work / "x.mmh", code=OK)
        mmh("info", work / "x.mmh", code=OK)
        assert_harmless(mmh("ls", "--json", source, peak=True), source)
        listed = mmh("ls", "--json", work / "x.mmh", code=OK).json()["tensors"]
        for tensor in listed[:20]:  # those that nothing was said against can be read
            assert_harmless(mmh("cat", "-q", "-c", "--", work / "x.mmh", tensor["name"], peak=True), source)
        assert not PWNED.exists(), source
    # As a folder too: then shard indices and external data would be followed.
    mmh("pack", shared() / "corpus/traps/hostile", "-o", work / "hostile.mmh", code=OK)
    mmh("unpack", work / "hostile.mmh", "-o", work / "out", code=OK)
    (work / "out").chmod(0o755)
    assert tree(work / "out") == tree(shared() / "corpus/traps/hostile")
    assert [path.name for path in tmp_path.iterdir()] == ["work"], "something was written outside"
    assert not PWNED.exists()


def test_hostile_files_from_a_writable_folder_leave_nothing_beside_them(tmp_path):
    """Names inside of files that lead out of their folder are never opened for writing."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    for source in files("traps/hostile"):
        shutil.copyfile(source, inside / source.name)
    before = tree(tmp_path)
    for source in sorted(inside.iterdir()):
        mmh("pack", "-1", "-q", "-f", source.name, "-o", "../../x.mmh", cwd=inside, code=OK)
        mmh("unpack", "-q", "../../x.mmh", "-o", "../../restored", cwd=inside, code=OK)
        (tmp_path / "x.mmh").unlink()
        (tmp_path / "restored").unlink()
        assert tree(tmp_path) == before, source


if __name__ == "__main__":
    main(globals())
