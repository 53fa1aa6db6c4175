"""The shop's own tests: ``python manage.py test``, on databases that are made for the run and dropped after it."""
