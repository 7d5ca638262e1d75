#!/usr/bin/env bash
# Leaves an agent that starts with the machine and tries at once, and no daemon.
# shellcheck source=scripts/lib/vm/checks.sh
. "$(dirname "$0")/checks.sh"
cd / || exit

systemctl disable -q --now sallyportd
cat >/etc/systemd/system/impatient.service <<'END'
[Unit]
DefaultDependencies=no
After=sallyport.slice
Before=network-pre.target
[Service]
Slice=sallyport.slice
User=other
ExecStart=/usr/bin/python3 /opt/impatient.py
[Install]
WantedBy=sysinit.target
END
cat >/opt/impatient.py <<'END'
# From the first moment and for as long as it lives: greets the sink over TCP and UDP.
import socket, time
while True:
    for kind, port in ((socket.SOCK_STREAM, 443), (socket.SOCK_DGRAM, 53)):
        try:
            with socket.socket(socket.AF_INET, kind) as client:
                client.settimeout(2)
                client.connect(("198.18.10.2", port))
                client.send(b"hello")
        except OSError:
            time.sleep(0.1)
END
systemctl daemon-reload
systemctl enable -q impatient.service
check "the machine is left with rules and without a daemon" refute systemctl is-enabled -q sallyportd
sync
