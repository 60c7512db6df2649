"""``dicom://``: what a scanner sends, acknowledged, put in order and given as frames.

lobby ──association──▶ server ──content──▶ intake ──Arrival──▶ reception ──Frame──▶ source ──▶ stream
one thread for         a thread            keep, then          series by series:    the thread that
all connections        for each            answer              windows, then whole  measures
"""
