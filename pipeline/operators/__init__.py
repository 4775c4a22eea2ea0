"""What people do with topics and single records: look, publish, replay, decide; each record once.

Each family has a file: `dead_letters`, `review`, `forget`, `inspection` (topics, lag, records),
`sample_labels` (people label drawn answers), `trust_topic` (reading these and their labels),
`publish`, `offsets` (where groups are, and moving one). `IdempotentPublisher` (`handled`) makes
sure that a record is handled once, whichever process works on it, and that who did it is on record
(`audit`); `selection` says which records are meant, `listing` lists the newest. May import all
below it, among others `cascade`.
"""
