"""An item of every type that the API is known to send."""

import json
from pathlib import Path

SAMPLES = json.loads((Path(__file__).parents[1] / "samples" / "every_type.json").read_text("utf-8"))
