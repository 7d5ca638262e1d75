"""One call of a Python library: ask.py LIBRARY URL AUTHORITY [BYTES], with a POST of BYTES bytes where they are given. Prints what
came back or the error, and when."""

import sys
import time
import urllib.parse

library, url, authority, *size = sys.argv[1:]
body = b"x" * int(size[0]) if size else None
method = "POST" if body else "GET"
parts = urllib.parse.urlsplit(url)

if library == "http.client":
    import http.client
    import ssl

    def ask():
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=40, context=ssl.create_default_context(cafile=authority))
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=40)
        connection.request(method, parts.path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

elif library == "urllib":
    import ssl
    import urllib.error
    import urllib.request

    def ask():
        try:
            answer = urllib.request.urlopen(url, body, timeout=40, context=ssl.create_default_context(cafile=authority))
        except urllib.error.HTTPError as error:
            return error, error.read().decode()
        return answer.status, answer.read().decode()

elif library == "requests":
    import requests

    def ask():
        answer = requests.request(method, url, data=body, verify=authority, timeout=40)
        return answer.status_code, answer.text

elif library == "httpx":
    import httpx

    def ask():
        answer = httpx.request(method, url, content=body, verify=authority, timeout=40)
        return answer.status_code, answer.text

elif library == "aiohttp":
    import asyncio
    import ssl

    import aiohttp

    async def talk():
        context = ssl.create_default_context(cafile=authority)
        async with aiohttp.ClientSession() as session, session.request(method, url, data=body, ssl=context) as answer:
            return answer.status, await answer.text()

    def ask():
        return asyncio.run(talk())

elif library == "smtplib":
    import smtplib

    def ask():
        with smtplib.SMTP(parts.hostname, parts.port, timeout=40) as server:
            return server.sendmail("agent@lab.test", ["somebody@lab.test"], b"Subject: a mail\r\n\r\nhello\r\n"), ""

elif library == "getaddrinfo":
    import socket

    def ask():
        return socket.getaddrinfo(parts.hostname, 80), ""

try:
    print(*ask())
except Exception as error:
    print(f"{type(error).__module__}.{type(error).__name__}: {error}")
print(f"ended {time.time():.6f}")
