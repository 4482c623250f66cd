"""A receiver written with the library `standardwebhooks` from PyPI: prints its port, then for each
event whether the library accepts it. Its arguments are secrets, any of which may have signed, and
`--tls FILE`: a certificate with its key."""

import argparse
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

arguments = argparse.ArgumentParser()
arguments.add_argument("secrets", nargs="+")
arguments.add_argument("--tls")
arguments = arguments.parse_args()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        verdicts = []
        for secret in arguments.secrets:
            try:
                event = Webhook(secret).verify(body, dict(self.headers))
                verdicts.append(event["type"])
            except WebhookVerificationError as error:
                verdicts.append(f"refused: {error}")
        print("|".join(verdicts), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
if arguments.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
print(server.server_port, flush=True)
server.serve_forever()
