"""Flows and the command line. Nothing that we stand on tells anybody that it is used, unless a person asks for it."""

import os

for _name in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")
