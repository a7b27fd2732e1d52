#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real model files and traps: every byte comes back at every level, and hostile files do no harm.

Needs the shared corpus: MMH_SHARED, else ../shared; without it the tests are skipped and say so.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "cli"))
from harness import OK, main, mmh, shared, tree

PWNED = Path("/tmp/mmh_pwned")  # what the hostile files would make if something ran their code
HOSTILE_SECONDS = 20
HOSTILE_MEMORY = 1 << 30


def files(*folders):
    """Regular files beneath folders of the corpus."""
    corpus = shared() / "corpus"
    found = sorted(
        path for folder in folders for path in (corpus / folder).rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert found, f"nothing in {corpus}"
    return found


def assert_comes_back(source, folder, level):
    packed, restored = folder / "x.mmh", folder / "restored"
    pack = mmh("pack", f"-{level}", "--alone", "-q", "-f", source, "-o", packed, code=OK, timeout=600)
    verify = mmh("verify", "-q", packed, code=OK, timeout=600)
    unpack = mmh("unpack", "-q", "-f", packed, "-o", restored, code=OK, timeout=600)
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


def test_hostile_files_do_no_harm(tmp_path):
    PWNED.unlink(missing_ok=True)
    sanitized = "asan" in os.environ.get("MMH_BUILD", "")
    for source in files("traps/hostile"):
        for level in (1, 5, 9):
            for result in assert_comes_back(source, tmp_path, level):
                assert result.seconds < HOSTILE_SECONDS, (source, result.seconds)
                assert sanitized or result.peak < HOSTILE_MEMORY, (source, result.peak)
        mmh("ls", "-l", tmp_path / "x.mmh", code=OK)
        mmh("ls", "--json", tmp_path / "x.mmh", code=OK).json()
        mmh("info", tmp_path / "x.mmh", code=OK)
    # As a folder too: then shard indices and external data would be followed.
    mmh("pack", shared() / "corpus/traps/hostile", "-o", tmp_path / "hostile.mmh", code=OK)
    mmh("unpack", tmp_path / "hostile.mmh", "-o", tmp_path / "out", code=OK)
    (tmp_path / "out").chmod(0o755)
    assert tree(tmp_path / "out") == tree(shared() / "corpus/traps/hostile")
    assert not PWNED.exists()


if __name__ == "__main__":
    main(globals())
