# SPDX-License-Identifier: Apache-2.0
"""`python -m mmh`: what the command `mmh` asks of Python. It finds this by $MMH_PYTHON, or by itself."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

import mmh


def _passphrase(options: argparse.Namespace) -> str | None:
    """The passphrase's first line, of a file or of a descriptor that is open."""
    if options.passphrase_fd is not None:
        with os.fdopen(options.passphrase_fd, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    path = options.passphrase_file or os.environ.get("MMH_PASSPHRASE_FILE")
    if path is not None:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    return None


def verify_frameworks(options: argparse.Namespace) -> int:
    """Each model in turn; the worst exit code."""
    from mmh import frameworks
    from mmh._progress import Bar

    # What the frameworks print, which -v shows, would end up in a bar's line.
    bar = Bar(options.progress or ("none" if options.quiet or options.verbose else "auto"))
    keys = options.key or [key for key in os.environ.get("MMH_KEY", "").split(":") if key]
    secrets = {"keys": keys, "signers": options.signer, "passphrase": _passphrase(options)}
    worst = 0
    for item, model in enumerate(options.model, 1):
        try:
            with bar.work_on(model, item, len(options.model)):
                report = frameworks.verify(
                    model,
                    source=options.source,
                    frameworks=options.only.split(",") if options.only else None,
                    run_code=options.run_code,
                    secrets=secrets,
                    verbose=options.verbose > 0,
                    progress=bar.update,
                )
        except mmh.Error as problem:
            print(frameworks.shown(f"mmh: error: {problem}"), file=sys.stderr)
            if options.json:
                failed = {"verb": "verify", "input": model, "status": problem.status, "exit": problem.code}
                print(json.dumps(failed | {"message": str(problem)}), flush=True)
            worst = worst or problem.code
            continue
        if options.json:
            print(json.dumps(report.as_json()), flush=True)
        elif not options.quiet:
            print(report.as_text(), flush=True)
        if report.exit:
            print(frameworks.shown(f"mmh: error: {model}: {report.summary()}"), file=sys.stderr)
            worst = report.exit if report.exit == 3 or not worst else worst
    return worst


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mmh", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("verify-frameworks", help="compare what frameworks load from containers and originals")
    verb.add_argument("model", nargs="+", help="a container, or an original model")
    verb.add_argument("--source", help="the original that was packed; default: the container is unpacked")
    verb.add_argument("--only", metavar="NAMES", help="frameworks, with commas between; default: all that are here")
    verb.add_argument("--run-code", action="store_true", help="run the code that models bring; only of whom you trust")
    verb.add_argument("--key", action="append", default=[], help="private key to open it with; repeatable")
    verb.add_argument("--signer", action="append", default=[], help="refuse what this public key has not signed")
    verb.add_argument("--passphrase-file", metavar="FILE")
    verb.add_argument("--passphrase-fd", metavar="N", type=int)
    verb.add_argument("--json", action="store_true", help="results as JSON on standard output")
    verb.add_argument("--progress", choices=["bar", "json", "none"], help="default: a bar on a terminal")
    verb.add_argument("-q", "--quiet", action="store_true", help="the exit code alone")
    verb.add_argument("-v", "--verbose", action="count", default=0, help="show what the frameworks print")
    options = parser.parse_args()
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) == signal.SIG_DFL:  # else temporary folders would stay; nohup's is kept
            signal.signal(number, _end)
    try:
        return verify_frameworks(options)
    except KeyboardInterrupt:
        print("\r" * sys.stderr.isatty() + "mmh: error: interrupted", file=sys.stderr)  # over the "^C"
        return 130
    except OSError as problem:
        from mmh.frameworks import shown

        print(shown(f"mmh: error: {problem}"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
