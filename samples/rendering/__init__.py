"""What `samples/render.py` draws with."""
