"""A small shop, on MongoEngine and on cqlengine, and its bank, on SQLAlchemy."""
