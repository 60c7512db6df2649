"""``dicom://``: what a scanner sends, acknowledged, put in order and given as frames.

listener ──content──▶ intake ──Arrival──▶ reception ──Frame──▶ source ──▶ stream
associations,         keep, then          series by series:    the thread that
one thread each       answer              windows, then whole  measures
"""
