"""What speaks against an answer, as signals: none of it calls a model.

`evidence` and `text_index` look for what was answered in the text; `arithmetic` adds up;
`injection`, `scope` and `text_quality` look at the text itself.
"""
