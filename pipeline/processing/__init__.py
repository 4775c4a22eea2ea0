"""What happens to one event: read, ask, judge, and say where it ends.

This is the one place where errors become routes. A processor handles one record and returns
what is to be published for it; it neither consumes nor publishes.
"""
