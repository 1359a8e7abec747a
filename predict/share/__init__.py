"""A trained model as a folder by the conventions of the Hugging Face hub."""
