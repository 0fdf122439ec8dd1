"""Settings of flows and commands, and checks that run before any stage."""
