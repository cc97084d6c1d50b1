"""Have NiceGUI mark what it writes inline into a page: the content security policy lets through no other."""

import re
from collections.abc import Callable

import jinja2
from nicegui.client import templates

from snyper.dashboard.content_policy import NONCE


class _NonceLoader(jinja2.BaseLoader):
    """Gives the elements that NiceGUI's own template has inline the nonce of the request. What is put into
    the template gets none.
    """

    def __init__(self, loader: jinja2.BaseLoader) -> None:
        self._loader = loader

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, is_current = self._loader.get_source(environment, template)
        nonce = f'nonce="{{{{ request.scope[{NONCE!r}] }}}}"'
        source = re.sub(r"<(script|style)(?=[\s>])", rf"<\1 {nonce}", source)
        return source.replace(' style="display: none"', " hidden"), path, is_current


def mark_inline_elements() -> None:
    """Have NiceGUI mark what it writes inline with the nonce in the request's scope. May be called again."""
    loader = templates.env.loader
    if loader is not None and not isinstance(loader, _NonceLoader):
        templates.env.loader = _NonceLoader(loader)
