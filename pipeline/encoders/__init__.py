"""Sentence encoders: texts as vectors, on this machine. Needs the extra `encoder`, and no network.

What uses one takes an `Encoder`; which one it is, is said where the program is put together.
"""
