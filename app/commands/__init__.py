"""What the commands of the command line do, one file each; app.cli says how they are called."""
