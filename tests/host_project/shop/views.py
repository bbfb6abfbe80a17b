from django.core.mail import send_mail
from django.http import HttpResponse, JsonResponse

from shop.models import Order

try:
    from shield_django.decorators import env_only
except ImportError:  # the project before it took Shield in

    def env_only(*envs):
        return lambda view: view


def home(request):
    return HttpResponse("home")


def orders(request):
    return JsonResponse({"orders": list(Order.objects.values_list("number", flat=True))})


def new_order(request):
    order = Order.objects.create(number=request.POST["number"])
    send_mail("order", order.number, "shop@example.com", ["someone@example.com"])
    return HttpResponse(status=201)


@env_only("staging")
def beta(request):
    return HttpResponse("beta")
