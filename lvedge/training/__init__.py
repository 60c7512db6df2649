"""Training and evaluation: data sets, augmentation, the loops, the figures. Needs the extra ``train``."""
