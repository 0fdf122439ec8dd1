"""The settings of flows and commands, and checks that need no stage."""
