"""A small shop on MongoEngine: products with stock counters, orders, and the history of the orders of past years."""
