"""Authenticates the user of a request by a header, as behind a proxy that has authenticated it."""

from django.contrib.auth.middleware import RemoteUserMiddleware


class HeaderUserMiddleware(RemoteUserMiddleware):
    header = "HTTP_X_REMOTE_USER"
    force_logout_if_no_header = False
