"""HDF5 from untrusted sources: checked reading, disk-full-safe writing, the seal; start with opening.py."""
