"""Django: settings in, checks, commands, a request's deadline, health and the status page out.

Put ``"undaunted.django"`` into ``INSTALLED_APPS``. A thin layer over `undaunted.web`, which Flask's part shares; may
import everything but `undaunted.flask`, and nothing imports it. This module itself imports nothing, so that the pytest
plugin may be loaded where Django is not used.
"""
