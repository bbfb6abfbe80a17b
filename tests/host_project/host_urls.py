from django.urls import path

from shop import views

urlpatterns = [
    path("", views.home, name="home"),
    path("orders/", views.orders, name="orders"),
    path("orders/new/", views.new_order, name="new-order"),
    path("beta/", views.beta, name="beta"),
]
