"""Import of precomputed features: `foal import`.

Open first: import_features.py, the flow of the command. feature_source.py checks the arrays of one modality, which
npy_folder.py, mmsa_file.py and dataset_folder.py read; imported_frames.py decides which frames are valid;
earlier_streams.py keeps the streams that an index already has.
"""
