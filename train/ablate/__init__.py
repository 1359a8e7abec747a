"""The ablation study: the systems that are compared, and the command that fits and compares them."""
