"""A receiver written with the library `standardwebhooks` from PyPI: prints its port, then for each
event whether the library accepts it. The secrets are its arguments; any may have signed."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        verdicts = []
        for secret in sys.argv[1:]:
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


server = HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
