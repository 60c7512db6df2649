"""The network of patent CN110731777A, one layer a file: segmentation, convolution, recurrent, classification.

Needs torch (extra ``train``). Read ``model.py`` first.
"""
