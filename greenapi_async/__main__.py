"""Run the command `greenapi-async` as `python -m greenapi_async`."""

from greenapi_async.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
