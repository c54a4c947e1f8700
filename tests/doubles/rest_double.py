# SPDX-License-Identifier: Apache-2.0
"""A REST server of canned answers, for tests of the command line. Each request takes the next answer of its
route; the last one is given again. What was asked is kept."""

import http.server
import threading


class Answer:
    """status and body (bytes or str); kind is the Content-Type."""
    def __init__(self, body, status=200, kind=None, before=None, headers=None):
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.kind = kind or ("application/json" if status < 400 else "application/problem+json")
        self.before = before  # called before it is sent
        self.headers = headers or {}


class RestDouble:
    """with RestDouble({("GET", "/api/v1/targets"): [Answer("{}")]}) as server: server.url, server.asked"""
    def __init__(self, routes, port=0):
        self.routes = {key: list(answers) for key, answers in routes.items()}
        self.asked = []  # (method, path with query, body)
        self.headers = []  # of each of them
        self.lock = threading.Lock()
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60  # of a connection that is kept open

            def do_GET(self):  # noqa: N802
                double.serve(self, "GET")

            def do_POST(self):  # noqa: N802
                double.serve(self, "POST")

            def log_message(self, *_args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_args):
                pass  # a client that had enough and hung up

        self.server = Server(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def next_answer(self, method, path):
        with self.lock:
            answers = self.routes.get((method, path)) or self.routes.get((method, path.partition("?")[0]))
            if not answers:
                return Answer('{"title":"Not Found","status":404,"detail":"no such task"}', 404)
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def serve(self, handler, method):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.asked.append((method, handler.path, body.decode()))
        self.headers.append(handler.headers)
        answer = self.next_answer(method, handler.path)
        if answer.before:
            answer.before()
        try:
            handler.send_response(answer.status)
            handler.send_header("Content-Type", answer.kind)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(answer.body)))
            handler.end_headers()
            handler.wfile.write(answer.body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client had enough: some tests want just that

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self.server.shutdown()
        self.server.server_close()
