"""The addresses of the shop."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import office, views

urlpatterns = [
    path("", views.home, name="home"),
    path("shelf/<slug:key>/", views.shelf, name="shelf"),
    path("product/<slug:sku>/", views.product, name="product"),
    path("product/<slug:sku>/review/", views.review, name="review"),
    path("cart/", views.cart, name="cart"),
    path("cart/<slug:sku>/", views.put, name="put"),
    path("buy/", views.buy, name="buy"),
    path("orders/", views.orders, name="orders"),
    path("orders/<uuid:number>/", views.order, name="order"),
    path("orders/<uuid:number>/pay/", views.pay, name="pay"),
    path("office/", office.office, name="office"),
    path("office/price/", office.price, name="price"),
    path("office/login/", LoginView.as_view(template_name="shop/login.html"), name="login"),
    path("office/logout/", LogoutView.as_view(), name="logout"),
]
