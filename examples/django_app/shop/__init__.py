"""A small shop: the catalogue on Cassandra, carts and orders on MongoDB, the ledger on PostgreSQL.

Each of the three parts stands in a package of its own, with a module for each database that can keep it. The modules
named after the part's own database are the ones to read; the others are the same on another database, for those who
have only that one.
"""
