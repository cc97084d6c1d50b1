"""`snyper gateway`: a hub, over HTTP."""

import asyncio
import logging
from contextlib import ExitStack, closing

from snyper.cli import extras
from snyper.cli.commands import HubOption, Json
from snyper.cli.output import err, fail
from snyper.cli.serve_command import (
    DEFAULT_LISTEN,
    Certificate,
    CertificateKey,
    KeyFile,
    Limit,
    ListenOption,
    Open,
    service_keys,
)
from snyper.client import DEFAULT_HUB, ReconnectingClient
from snyper.system.logs import log_to_stderr
from snyper.system.process import EXIT_FAILED, EXIT_USAGE, ended_by_signals
from snyper.system.streams import print_json
from snyper.system.temporary import temporary_folder


def gateway(
    hub: HubOption = DEFAULT_HUB,
    listen: ListenOption = [DEFAULT_LISTEN],  # noqa: B006 - which nobody changes
    key_file: KeyFile = None,
    is_open: Open = False,
    certificate: Certificate = None,
    certificate_key: CertificateKey = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Serve a hub over HTTP until Ctrl-C, to programs that do not speak its protocol."""
    extras.need("gateway", "serving over HTTP")
    keys = service_keys(listen, key_file, is_open)
    if certificate is None and certificate_key is not None:
        fail("--certificate-key needs --certificate", EXIT_USAGE)
    from snyper.gateway import run
    from snyper.gateway.app import Gateway
    from snyper.gateway.hub_routes import add_hub_routes
    from snyper.gateway.limits import complete_limits
    from snyper.offload.spool import Spool
    from snyper.web.listening import load_certificate

    log_to_stderr(logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        limits = complete_limits(limit or ())
    except ValueError as error:
        fail(f"--limit: {error}", EXIT_USAGE)
    try:
        with ExitStack() as stack:
            tls = load_certificate(certificate, certificate_key) if certificate else None
            socks = run.open_sockets(listen, stack)
            urls = run.urls(socks, tls)
            spool = stack.enter_context(closing(Spool(stack.enter_context(temporary_folder()) / "spool")))

            def ready() -> None:
                if as_json:
                    print_json({"urls": urls, "hub": hub})
                err.print(f"gateway: {' '.join(urls)} to the hub at {hub}; Ctrl-C stops it")

            async def work() -> None:
                async with ReconnectingClient(hub) as client:
                    served = Gateway(limits, keys)
                    add_hub_routes(served, client, hub, spool)
                    listening = run.Listening(socks, tls, limits)
                    await run.serve(served, listening, ready, lambda: None)

            asyncio.run(ended_by_signals(work()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print("stopped")
    except (OSError, ValueError) as error:
        fail(str(error), EXIT_FAILED)
