"""From a request body to the files and options in it."""
