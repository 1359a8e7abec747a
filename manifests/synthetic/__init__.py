"""The generator of the synthetic corpus: drawn actors with synthetic voices, in the layout of IEMOCAP."""
