"""Where people deal with records that wait for them: each is dealt with once."""
