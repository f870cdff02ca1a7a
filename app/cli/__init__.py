"""The command line, `fashion-googlenet`. docs/layout.md says where a new command or flag goes."""
