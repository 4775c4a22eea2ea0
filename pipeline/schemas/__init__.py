"""The published contract: a JSON Schema of every topic's records and one AsyncAPI document."""
