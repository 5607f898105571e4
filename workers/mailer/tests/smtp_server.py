"""A real SMTP server (aiosmtpd) that misbehaves when it is told to.

    smtp_server.py '<options as JSON>'

It listens on a free port of 127.0.0.1, writes what happens as JSON lines to stdout, and ends with its stdin.

    {"event": "ready", "port": 40123, "cert": "/.../cert.pem"}
    {"event": "connected"}
    {"event": "offered", "text": "..."}: whatever it then says
    {"event": "accepted", "from": "...", "to": ["..."], "text": "...", "tls": true, "user": "ada"}
    {"event": "closed"}

Options, all of them optional:

    dir         folder for the certificate
    tls         "starttls" or "tls"
    user, password
    cut         where the connection is cut: greeting, mail, rcpt, data, body, dot (after the mail was accepted)
    stall       where the server falls silent: mail, dot
    times       how often it cuts or stalls before it behaves; for ever if absent
    replies     what it says instead of yes, by place: mail, data, dot
    reply_times how often it says that before it behaves; for ever if absent
    defer_times how often a recipient whose name begins with `defer` is told "later"; for ever if absent
    hang_up     true: it closes the connection after every mail
    pipelining  true: it says that it takes several commands in one piece

A recipient whose name begins with `refuse-policy` gets 550 for another reason than the address; with `refuse`, `defer` or `closing` gets 550, 450 or 421.
"""

import asyncio
import json
import logging
import os
import pathlib
import ssl
import subprocess
import sys

from aiosmtpd.smtp import SMTP, AuthResult

OPTIONS = json.loads(sys.argv[1])
logging.disable(logging.CRITICAL)


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def misbehaves(how, place):
    """Is this the place, and are there times left?"""
    if OPTIONS.get(how) != place or OPTIONS.get("times", 1) <= 0:
        return False
    if "times" in OPTIONS:
        OPTIONS["times"] -= 1
    return True


def reply(place, default):
    if place not in OPTIONS.get("replies", {}) or OPTIONS.get("reply_times", 1) <= 0:
        return default
    if "reply_times" in OPTIONS:
        OPTIONS["reply_times"] -= 1
    return OPTIONS["replies"][place]


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        if OPTIONS.get("pipelining"):
            responses.insert(1, "250-PIPELINING")
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        answer = reply("mail", "250 OK")
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse-policy"):
            return "550 5.7.1 not wanted here"
        if address.startswith("refuse"):
            return f"550 5.1.1 <{address}> no such user"
        if address.startswith("defer") and OPTIONS.get("defer_times", 1) > 0:
            if "defer_times" in OPTIONS:
                OPTIONS["defer_times"] -= 1
            return f"450 4.2.0 <{address}> greylisted"
        if address.startswith("closing"):
            return "421 4.3.2 closing"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        tell("offered", text=envelope.original_content.decode("latin-1"))
        answer = reply("dot", "250 OK")
        if answer.startswith("250"):
            user = session.auth_data.login.decode() if session.authenticated else None
            tell(
                "accepted",
                **{"from": envelope.mail_from},
                to=envelope.rcpt_tos,
                text=envelope.original_content.decode("latin-1"),
                tls=server.transport.get_extra_info("sslcontext") is not None,
                user=user,
            )
        if misbehaves("cut", "dot"):
            server.transport.abort()
        if misbehaves("stall", "dot"):
            await asyncio.Event().wait()
        return answer


class Server(SMTP):
    async def _handle_client(self):
        tell("connected")
        if misbehaves("cut", "greeting"):
            self.transport.abort()
            return
        await super()._handle_client()

    def connection_lost(self, error):
        super().connection_lost(error)
        tell("closed")

    async def smtp_MAIL(self, arg):
        if misbehaves("cut", "mail"):
            self.transport.abort()
            return
        if misbehaves("stall", "mail"):
            await asyncio.Event().wait()
        await super().smtp_MAIL(arg)

    async def smtp_RCPT(self, arg):
        await super().smtp_RCPT(arg)
        if misbehaves("cut", "rcpt"):
            self.transport.abort()

    async def smtp_DATA(self, arg):
        if misbehaves("cut", "data"):
            self.transport.abort()
            return
        if misbehaves("cut", "body"):
            await self.push("354 go on")
            await self._reader.read(1024)
            self.transport.abort()
            return
        answer = reply("data", None)
        if answer:
            await self.push(answer)
            return
        await super().smtp_DATA(arg)
        if OPTIONS.get("hang_up"):
            self.transport.close()


class Login:
    def __init__(self, login):
        self.login = login


def authenticate(server, session, envelope, mechanism, data):
    expected = (OPTIONS["user"].encode(), OPTIONS["password"].encode())
    ok = (data.login, data.password) == expected
    return AuthResult(success=ok, handled=False, auth_data=Login(data.login))


def certificate(folder):
    """For localhost, signed by itself, and no authority: so it may stand at a chain's end."""
    cert, key, config = folder / "cert.pem", folder / "key.pem", folder / "openssl.cnf"
    config.write_text(
        "[req]\ndistinguished_name=name\nx509_extensions=more\nprompt=no\n"
        "[name]\nCN=localhost\n"
        "[more]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    )
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-config", str(config), "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return cert, key


async def main():
    loop = asyncio.get_running_loop()
    context, cert = None, None
    if OPTIONS.get("tls"):
        cert, key = certificate(pathlib.Path(OPTIONS["dir"]))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)

    def protocol():
        login = {}
        if "user" in OPTIONS:
            login = {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
        starttls = OPTIONS.get("tls") == "starttls"
        return Server(
            Handler(),
            hostname="smtp.test",
            loop=loop,
            tls_context=context if starttls else None,
            require_starttls=starttls,
            **login,
        )

    implicit = context if OPTIONS.get("tls") == "tls" else None
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit)
    tell("ready", port=server.sockets[0].getsockname()[1], cert=cert and str(cert))
    await loop.run_in_executor(None, sys.stdin.read)
    # Whoever is stalled is not waited for.
    os._exit(0)


asyncio.run(main())
