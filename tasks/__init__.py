"""The pipeline's stages as Prefect tasks: open artifacts, one library call, write an artifact."""
