/** What `chaperone schema` prints, beside the configuration. */
export const SCHEMA_FILE = 'chaperone.schema.json';

/**
 * What `chaperone init` writes: a commented configuration that passes `chaperone check` as it
 * stands.
 */
export const STARTER = `# yaml-language-server: $schema=${SCHEMA_FILE}
# Chaperone starter configuration. Documents may share a file or have one each: -c takes files and
# folders.
# Every key is explained in docs/reference. What is not written here is denied.
apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: my-agent }
spec:
  # The Workload API that hands out our SVID. Without this key $SPIFFE_ENDPOINT_SOCKET is used.
  # 'chaperone dev' serves one for a laptop at this address.
  identity:
    workloadApi: unix:///tmp/chaperone/workload.sock
  # What HTTP_PROXY of the agent points to ('chaperone env' prints the variables). Loopback alone.
  forward: { address: 127.0.0.1:15001 }
  # /livez, /readyz, /metrics and nothing else.
  health: { address: 127.0.0.1:15021 }
  # One JSON line when a request is decided, one when it has ended; relative to the folder of this
  # file. If it cannot be written, requests are refused: onFailure: deny is the default.
  audit: { sinks: [{ file: chaperone-audit.jsonl }] }
  # A task says what the agent is doing now, and ends. 'required' is the default where this is not
  # written, and 'chaperone task run' opens one (docs/tasks.md); to begin with, requests without one
  # pass.
  defaults: { task: optional }
---
# An HTTP API behind mTLS. The agent says http://crm.internal/...; mTLS starts at the sidecar.
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: crm }
spec:
  hosts: [crm.internal] # what the agent asks for: exact names, or *.example.com
  ports: [80]
  upstream: { address: 127.0.0.1:8443 } # where it really is
  tls:
    mode: mtls
    peers: ['spiffe://dev.local/crm'] # who must answer there
  dataClass: confidential
  # Deny rules win; then one allow rule must match; everything else is denied. /** is the path
  # itself and all below.
  rules:
    - { name: no-exports, effect: deny, http: { paths: [/v1/customers/export/**] } }
    - name: read-customers
      effect: allow
      action: read
      http: { methods: [GET, HEAD], paths: [/v1/customers/**] }
    - name: add-note
      effect: allow
      action: write
      http: { methods: [POST], paths: [/v1/notes] }
  # mode: report # lets through what the rules deny, marked: for finding out which rules are needed
---
# A public HTTPS site that the agent reaches with its own TLS, through CONNECT:
# https://docs.example.com. Nothing inside can be judged, only that the TLS is meant for this host.
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: docs }
spec:
  hosts: [docs.example.com]
  ports: [443]
  tls: { mode: passthrough }
  dataClass: public
# ---
## A service of any protocol behind mTLS, on a local port of its own: the agent connects to
## 127.0.0.1:16379. TLS starts with the first byte, as Redis has it; PostgreSQL, MySQL and SMTP
## agree on TLS inside their own protocol, and cannot be reached like this yet.
# apiVersion: chaperone.dev/v1alpha1
# kind: Destination
# metadata: { name: cache }
# spec:
#   hosts: [cache.internal]
#   ports: [6379]
#   listen: 127.0.0.1:16379
#   protocol: tcp
#   upstream: { address: 'cache.prod.svc:6379' }
#   tls: { mode: mtls, peers: ['spiffe://dev.local/cache'] }
`;
