from django.urls import path

from board import views

urlpatterns = [
    path("", views.board, name="board"),
    path("board/send/", views.send, name="board-send"),
]
