"""DICOM objects derived from a measured series: structured report, segmentation, secondary capture.

``series`` gathers what the stream yields, ``objects`` makes the objects of one series, ``sink`` writes them
into a folder. highdicom (the extra ``dicom-objects``) is imported by ``objects``, when it is asked for.
"""
