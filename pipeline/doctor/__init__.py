"""What is wrong with an installation, in plain words, and what to do about it.

`examination` runs the checks; each of the others looks at one thing: brokers, topics, permissions,
record sizes, the installation, and the account with its models.
"""
