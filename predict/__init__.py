"""A trained run on new media, and what is made of it; the only package that imports extract and train."""
