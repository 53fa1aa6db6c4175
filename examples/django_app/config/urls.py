"""The addresses of the site."""

from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("", include("shop.urls")),
    path("undaunted/", include("undaunted.django.urls")),
    # A web server's job in earnest: so the example needs none.
    path("static/<path:path>", serve, {"insecure": True}),
]
