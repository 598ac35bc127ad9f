"""A web server on 127.0.0.1 with the faults of real ones."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What the server answers, and what it was asked.

    Attributes:
        files: Contents by path.
        cut: Bytes after which the connection breaks, one entry for each request; then none.
        status: Status codes of the first requests; then 200 or 206.
        ranges: Whether ``Range`` is honoured.
        etag: Validator of the contents.
        kind: ``Content-Type``.
        redirect: Address by path.
        asked: (path, Range) of every request.
    """

    def __init__(self, files):
        self.files = files
        self.cut = []
        self.status = []
        self.ranges = True
        self.etag = '"v1"'
        self.kind = "application/octet-stream"
        self.redirect = {}
        self.length = True
        self.asked = []
        self.address = ""

    def url(self, path):
        return f"{self.address}/{path}"


def _handler(site):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            path = self.path.lstrip("/")
            wanted = self.headers.get("Range")
            site.asked.append((path, wanted))
            if path in site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status = site.status.pop(0) if site.status else 200
            if path not in site.files or status >= 400:
                self.send_error(status if status >= 400 else 404)
                return
            data, start = site.files[path], 0
            same = self.headers.get("If-Range") in (None, site.etag)
            if wanted and site.ranges and same:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", site.kind)
            if site.etag:
                self.send_header("ETag", site.etag)
            if site.length:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:][: site.cut.pop(0) if site.cut else None])
            self.close_connection = True

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that hangs up early is what some tests are about."""


@contextmanager
def serving(files):
    site = Site(files)
    server = _Server(("127.0.0.1", 0), _handler(site))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
