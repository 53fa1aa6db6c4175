"""The site: settings, addresses, and what a web server calls."""
