"""Which proxy the environment names for an address."""

from urllib.request import getproxies, proxy_bypass

import httpx


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that the environment has for an address; there is none to this machine itself."""
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if url.scheme != "https" or not proxy or proxy_bypass(url.host):
        return None

    return proxy if "://" in proxy else f"http://{proxy}"
