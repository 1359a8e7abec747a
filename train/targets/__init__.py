"""What a network learns: classes, ratings of dimensions, soft labels."""
