"""`foal doctor`: checks of the installation and the machine, each with what to do about it."""
