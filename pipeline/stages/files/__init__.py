"""How raw records are read, and what becomes of the files in them.

`raw_events` reads records; `html_mail` shows the text of HTML; `media` says what a file is;
`claims` fetches it from where a `uri` points. Files are decoded in child processes: `decoding` is
the pool of them, `decoder_server` their program, which alone imports `pictures` and `pdfs`.
"""
