"""Measure everything; `--quick` only tries every row, and writes into a temporary folder."""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import report, sections, server
from benchmarks.measuring import Effort, in_fresh_process

_DOCS = Path(__file__).parent.parent / "docs" / "en"


def main() -> None:
    """Run the sections in processes of their own, and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure hardly anything, in seconds")
    effort = Effort(quick=parser.parse_args().quick)

    # Every library's own way to trust the server's certificate; some look when they are imported.
    os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = str(server.CERTIFICATE)

    results = []
    for section in sections.NAMES:
        for result in in_fresh_process(sections.run, section, effort):
            print(report.told(result), flush=True)
            results.append(result)

    folder = Path(tempfile.mkdtemp()) if effort.quick else _DOCS
    report.write(results, folder)
    print(f"\nwritten: {folder / 'performance.md'}")


if __name__ == "__main__":
    main()
