"""Stories: the trace of a failure told as a table."""
