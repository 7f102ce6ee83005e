"""Corpora of any size made ready for training, as datatrove pipelines: in processes of this machine or on Ray."""
