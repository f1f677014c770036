"""What the library costs, against what else there is; `nox -s bench` runs it and writes docs/en/performance.md."""
