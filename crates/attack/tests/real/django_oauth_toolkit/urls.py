"""The pages of the server."""

from django.http import JsonResponse
from django.urls import include, path


def health(_request):
    return JsonResponse({"ok": True})


urlpatterns = [
    path("healthz", health),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
