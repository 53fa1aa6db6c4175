"""SQLAlchemy kept undaunted: sessions, units of work that happen exactly once, and the engines beneath them.

May import `undaunted.backend` and what that stands on, SQLAlchemy and psycopg; never another backend, and the registry
only through `undaunted.backend.directory`.
"""
