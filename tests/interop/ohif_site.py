"""The OHIF viewer's site and an archive's DICOMweb service behind one address, as hospitals serve them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.site import ROOT, free_port

DIST = ROOT / ".venv" / "ohif" / "package" / "dist"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_CONFIGURATION = """window.config = {
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 2, showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false,
  showLoadingIndicator: true, showErrorDetails: 'always', disableConfirmationPrompts: true,
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'orthanc',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'orthanc',
    configuration: {
      friendlyName: 'Orthanc', name: 'orthanc',
      wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors',
      enableStudyLazyLoad: true, supportsFuzzyMatching: false, supportsWildcard: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};
"""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web/"):
            self._pass_on()
            return
        path = self.path.partition("?")[0]
        if path == "/app-config.js":
            self._answer(200, "text/javascript", _CONFIGURATION.encode())
            return
        file = (DIST / path.lstrip("/")).resolve()
        if not (file.is_relative_to(DIST) and file.is_file()):
            if Path(path).suffix in _TYPES:
                self._answer(404, "text/plain", b"")
                return
            file = DIST / "index.html"  # an address within the viewer
        self._answer(200, _TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())

    def _pass_on(self) -> None:
        """Ask Orthanc in the browser's name: one origin for all."""
        assert isinstance(self.server, _Server)
        back = http.client.HTTPConnection("127.0.0.1", self.server.orthanc, timeout=120)
        try:
            headers = {name: self.headers[name] for name in ("Accept",) if name in self.headers}
            # Orthanc writes addresses of bulk data as it was called.
            back.request("GET", self.path, headers={**headers, "Host": self.headers["Host"]})
            answer = back.getresponse()
            self._answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
        finally:
            back.close()

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        # Threads of pixels want a page that shares with nobody.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    orthanc = 0

    def handle_error(self, *_: object) -> None:
        """A browser that closes a page breaks off its requests."""


@contextmanager
def served(orthanc: int) -> Iterator[str]:
    """The viewer and Orthanc's DICOMweb service behind one address, which is yielded. orthanc: its HTTP port."""
    server = _Server(("127.0.0.1", free_port()), _Handler)
    server.orthanc = orthanc
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
