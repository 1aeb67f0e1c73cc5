"""One module for each driver; only that module imports it, so none has to be installed."""
