"""Flows and the command line. Telemetry of the libraries is off unless a person turns it on."""

import os

for _name in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")
