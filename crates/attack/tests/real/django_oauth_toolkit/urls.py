"""The pages of the server: those of django-oauth-toolkit, and two for tests."""

from uuid import uuid4

from django.http import JsonResponse
from django.urls import include, path


def health(_request):
    return JsonResponse({"ok": True})


def name_of_a_user(_request):
    """A name for the header X-Remote-User; the user is created when it first appears there."""
    return JsonResponse({"name": uuid4().hex})


urlpatterns = [
    path("healthz", health),
    path("user", name_of_a_user),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
