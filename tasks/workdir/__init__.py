"""The work directory as a person sees it: latest results, reports, and removal of what is not needed."""
