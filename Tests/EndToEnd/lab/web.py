"""The outside world's web: nginx with TLS 1.2 and 1.3 and plain HTTP, on a range of ports each. Certificates are made when the lab starts and never leave its directory."""

import hashlib
import os
import pathlib
import socket
import subprocess

from .waiting import until
from . import topology

HTTPS = range(30000, 30400)
"""Ports where nginx speaks TLS 1.2 and 1.3; 443 as well."""
HTTP = range(40000, 40400)
"""Ports where nginx speaks plain HTTP; 80 as well."""
HTTPS_12 = range(30400, 30440)
"""Ports where nginx speaks TLS 1.2 only."""
RETRY = range(30500, 30540)
"""Ports where nginx wants P-384 and so answers an X25519 share with a HelloRetryRequest."""

ALLOWED, REFUSED, BOUND = "allowed.test", "refused.test", "bound.test"
"""The domains; the lab's policy allows the first one and all names under it, and those under the last where answers lead."""

BIG = 48 << 20
"""Bytes of the large file: many times what any window or queue holds."""

_NGINX = """
master_process off; pid {root}/nginx.pid; error_log {root}/nginx-error.log;
worker_rlimit_nofile 16384; daemon off;
events {{ worker_connections 8192; }}
http {{
  access_log {root}/nginx-access.log; client_max_body_size 1g; client_body_temp_path {root}/body;
  proxy_temp_path {root}/t1; fastcgi_temp_path {root}/t2; uwsgi_temp_path {root}/t3; scgi_temp_path {root}/t4;
  keepalive_requests 100000; keepalive_timeout 600s; large_client_header_buffers 8 64k;
  ssl_certificate {root}/server.pem; ssl_certificate_key {root}/server.key; ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 443 ssl; listen [::]:443 ssl; listen {https} ssl; listen [::]:{https} ssl;
    listen 80; listen [::]:80; listen {http}; listen [::]:{http};
    server_name _;
    location / {{ return 200 "host=$host sni=$ssl_server_name uri=$request_uri proto=$ssl_protocol\\n"; }}
    location /files/ {{ root {root}/web; }}
    location /upload/ {{ root {root}/web; dav_methods PUT; create_full_put_path on; }}
  }}
  server {{
    listen {https12} ssl; listen [::]:{https12} ssl; ssl_protocols TLSv1.2; server_name _;
    location / {{ return 200 "host=$host sni=$ssl_server_name proto=$ssl_protocol\\n"; }}
  }}
  server {{
    listen {retry} ssl; listen [::]:{retry} ssl; ssl_protocols TLSv1.3; ssl_ecdh_curve secp384r1; server_name _;
    location / {{ return 200 "host=$host sni=$ssl_server_name proto=$ssl_protocol curve=$ssl_curves\\n"; }}
  }}
}}
"""


class Web:
    """The web servers and the files they serve."""

    def __init__(self, net, root: pathlib.Path):
        self.net, self.root = net, root
        self.authority = root / "ca.pem"
        self._certificates()
        self._files()
        configuration = root / "nginx.conf"
        span = lambda ports: f"{ports[0]}-{ports[-1]}"
        configuration.write_text(_NGINX.format(root=root, https=span(HTTPS), http=span(HTTP), https12=span(HTTPS_12), retry=span(RETRY)))
        with open(root / "nginx.out", "wb") as out:
            net.spawn("nginx", "-c", configuration, "-p", root, stdout=out, stderr=out)
        for port in (443, 80, HTTPS[0], HTTP[0], HTTPS_12[0], RETRY[0]):
            until(lambda port=port: net.call(lambda: _listens(port)), f"the web server on port {port} ({root}/nginx.out)")

    def _certificates(self):
        def openssl(*words):
            subprocess.run(["openssl", *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        root = self.root
        names = [f"DNS:{n}" for d in (ALLOWED, REFUSED, BOUND) for n in (d, f"*.{d}")]
        names += [f"IP:{topology.outside(topology.SERVER, f)}" for f in (4, 6)]
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2, "-subj",
                "/CN=lab authority", "-keyout", root / "ca.key", "-out", root / "ca.pem")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=lab server",
                "-keyout", root / "server.key", "-out", root / "server.csr")
        (root / "server.ext").write_text(f"subjectAltName={','.join(names)}\n")
        openssl("x509", "-req", "-in", root / "server.csr", "-CA", root / "ca.pem", "-CAkey", root / "ca.key",
                "-CAcreateserial", "-days", 2, "-extfile", root / "server.ext", "-out", root / "server.pem")
        os.chmod(root / "server.key", 0o644)  # a key of the lab, for s_server and nginx alike; gone with the lab

    def _files(self):
        files = self.root / "web" / "files"
        uploads = self.root / "web" / "upload"
        for directory in (files, uploads, self.root / "body"):
            directory.mkdir(parents=True)
            directory.chmod(0o777)
        big = hashlib.shake_128(b"sallyport").digest(1 << 20) * (BIG >> 20)
        (files / "big").write_bytes(big)
        self.big_digest = hashlib.sha256(big).hexdigest()
        self._repository(files)

    def _repository(self, files):
        work, bare = self.root / "work", files / "project.git"
        environment = {**os.environ, "HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1"}

        def git(*words):
            subprocess.run(["git", "-c", "user.name=lab", "-c", "user.email=lab@allowed.test", *map(str, words)], check=True,
                           env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        git("init", "-q", "-b", "main", work)
        (work / "README").write_text("a project\n")
        git("-C", work, "add", "README")
        git("-C", work, "commit", "-q", "-m", "first")
        git("clone", "-q", "--bare", work, bare)
        git("-C", bare, "update-server-info")
        subprocess.run(["chmod", "-R", "a+rX", str(bare)], check=True)

    def uploaded(self, name):
        """The SHA-256 digest of an uploaded file, or None."""
        path = self.root / "web" / "upload" / name
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _listens(port):
    try:
        socket.create_connection((topology.outside(topology.SERVER, 6), port), timeout=2).close()
        return True
    except OSError:
        return False
