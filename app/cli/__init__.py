"""The command line, `fashion-googlenet`. A new command or flag goes into app.cli.commands."""
