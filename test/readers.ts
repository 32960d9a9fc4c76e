/**
 * Everything that reads text or bytes from outside, with real inputs to begin from. Each must give
 * a value or a Fault, whatever it is handed, and soon. HTTP has its own (test/http1,
 * test/differential).
 */
import { create } from '@bufbuild/protobuf';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';

import { systemClock } from '../lib/base/clock.ts';
import { Fault } from '../lib/base/fault.ts';
import { readDocument } from '../lib/config/documents/read.ts';
import { problems as collector } from '../lib/schema/problem.ts';
import { STARTER } from '../lib/config/reference/starter.ts';
import { parseYaml } from '../lib/schema/yaml.ts';
import { createDevTrustDomain, jwtBundleBytes } from '../lib/dev/domain.ts';
import { parseEndpoint } from '../lib/identity/address.ts';
import { X509SVIDResponseSchema, X509SVIDSchema } from '../lib/identity/gen/workload_pb.ts';
import { readX509Svids } from '../lib/identity/parse.ts';
import { judgeAddress, judgeRange } from '../lib/net/addresses.ts';
import { parseAuthority } from '../lib/net/authority.ts';
import { parseHostPattern } from '../lib/net/host.ts';
import { Frames } from '../lib/http2/frames.ts';
import { fieldsOfBlock } from '../lib/http2/hpack.ts';
import { http2Limits } from '../lib/http2/limits.ts';
import { readMessage } from '../lib/mcp/message.ts';
import { conditions } from '../lib/policy/conditions/compile.ts';
import { parseJson } from '../lib/schema/json-reader.ts';
import { parseResourcePattern } from '../lib/net/resource.ts';
import { parseIntent } from '../lib/tasks/intent.ts';
import { canonicalTarget } from '../lib/net/path.ts';
import { parsePathPattern } from '../lib/net/path-pattern.ts';
import { parseJwtBundle, parseX509Bundle } from '../lib/spiffe/bundle.ts';
import { parseSpiffeId } from '../lib/spiffe/id.ts';
import { validateJwtSvid } from '../lib/spiffe/jwt-svid.ts';
import { parsePeerPattern } from '../lib/spiffe/pattern.ts';
import { parseX509Svid } from '../lib/spiffe/svid.ts';
import { parseTrustDomain } from '../lib/spiffe/trust-domain.ts';
import { readClientHello } from '../lib/interception/client-hello.ts';
import { testAuthority } from './support/authority.ts';
import type { Random } from './http1/generator.ts';
import { pick } from './http1/generator.ts';
import { distorted } from './http1/mutate.ts';

export interface Reader {
  readonly name: string;
  /** Inputs that it takes, as latin1. */
  readonly from: readonly [string, ...string[]];
  /** Throws a Fault, or is done. */
  readonly read: (input: string) => unknown;
  /** How much slower than the others it is; fewer cases then. */
  readonly slow?: number;
  /** It says no by its value and throws nothing at all. */
  readonly total?: boolean;
}

const ca = await testAuthority();
const svid = await ca.svid('/agent');
const domain = await createDevTrustDomain({ name: 'example.org', clock: systemClock });
const jwks = Buffer.from(jwtBundleBytes(domain.current())).toString();
const token = await domain.issueJwt(parseSpiffeId('spiffe://example.org/agent'), {
  audience: ['crm'],
  ttl: 600_000,
});

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const octets = (text: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(Buffer.from(text, 'latin1'));
const deployed = (file: string): string =>
  readFileSync(join(import.meta.dirname, '..', 'deploy', 'kubernetes', file), 'latin1');

const CHAIN = latin1(svid.concatenated);
const KEY = latin1(svid.privateKey);
const ANCHOR = latin1(ca.certificate);
const ADDRESS_RULE = {
  loopback: false,
  private: true,
  cidrs: ['10.0.0.0/8'],
  own: new Set<string>(),
};
const TD = parseTrustDomain('example.org');
const JWT_BUNDLES = new Map([[TD, parseJwtBundle(TD, octets(jwks))]]);

const compiler = conditions(['public', 'internal', 'restricted']);
const CONDITIONS = [
  "request.method == 'GET'",
  "request.path.startsWith('/v1') && request.method in ['GET', 'HEAD']",
] as const;
const INTENT = JSON.stringify({
  purpose: 'weekly-report',
  owner: 'alice',
  targets: ['crm'],
  actions: ['read'],
  lifetime: '10m',
});
const INTENT_YAML =
  'purpose: weekly-report\nowner: alice\ntargets: [crm]\nactions: [read]\nlifetime: 10m\n';
/** GET / of http, and `x: y` with literal name and value (RFC 7541 appendix C). */
const HEADER_BLOCK = '\x82\x86\x84\x40\x01x\x01y';
const UNWATCHED = { opened() {}, moved() {}, tainted() {}, blockOpen() {} };

/** A frame of stream 1 (RFC 9113 section 4.1). */
function frame(type: number, flags: number, payload: string): string {
  return String.fromCharCode(0, 0, payload.length, type, flags, 0, 0, 0, 1) + payload;
}

async function clientHello(): Promise<string> {
  const [ours, theirs] = duplexPair();
  const socket = connect({
    socket: ours,
    servername: 'crm.internal',
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  socket.on('error', () => 'nobody answers');
  const [bytes] = (await theirs.take(1).toArray()) as [Buffer];
  for (const end of [socket, ours, theirs]) end.destroy();
  return latin1(bytes);
}

function decodeYaml(text: string): void {
  const problems = collector();
  const found = { sidecars: [], destinations: [], taskPolicies: [], broken: new Set<string>() };
  for (const tree of parseYaml('c.yaml', text, problems)) readDocument(tree, found, problems);
}

/** One SVID of a Workload API message, cut into its parts at a byte that none of them needs. */
const PART = '\n--part--\n';
async function workloadMessage(text: string): Promise<unknown> {
  const [spiffeId = '', certs = '', key = '', bundle = ''] = text.split(PART);
  const message = create(X509SVIDSchema, {
    spiffeId,
    x509Svid: octets(certs),
    x509SvidKey: octets(key),
    bundle: octets(bundle),
  });
  const { chosen } = await readX509Svids(
    create(X509SVIDResponseSchema, { svids: [message] }),
    systemClock,
    {},
  );
  if (chosen.kind !== 'svid') throw chosen.fault;
  return chosen.svid;
}

export const READERS: readonly Reader[] = [
  {
    name: 'SPIFFE ID',
    from: ['spiffe://example.org/ns/a/sa/b', 'spiffe://a'],
    read: parseSpiffeId,
  },
  { name: 'trust domain', from: ['example.org', 'a_b.example'], read: parseTrustDomain },
  { name: 'peer pattern', from: ['spiffe://example.org/ns/*/sa/**'], read: parsePeerPattern },
  {
    name: 'address of the Workload API',
    from: ['unix:///run/spire/api.sock', 'tcp://127.0.0.1:8000', 'tcp://[::1]:80'],
    read: parseEndpoint,
  },
  {
    name: 'authority',
    from: ['crm.internal:8080', '[2001:db8::1]:443', '10.0.0.1'],
    read: (text) => parseAuthority(text, 80),
  },
  { name: 'host pattern', from: ['*.crm.internal', '10.0.0.1', '[::1]'], read: parseHostPattern },
  { name: 'path pattern', from: ['/v1/*/notes/**', '/%C3%A4'], read: parsePathPattern },
  {
    name: 'request target',
    from: ['/v1/a/b?c=%41', '/a%2e/x%c3%a4', '/a/b.c%2d'],
    read: canonicalTarget,
  },
  {
    name: 'address and range',
    from: ['10.0.0.0/8', '::ffff:10.0.0.1', '2001:db8::/32', '169.254.169.254'],
    read: (text) => [judgeAddress(text, ADDRESS_RULE), judgeRange(text)],
    total: true,
  },
  {
    name: 'JSON of a call',
    from: [
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","x":[1e3,"\\u00e4"]}}',
    ],
    read: (text) => parseJson(octets(text)),
  },
  {
    name: 'message of MCP',
    from: [
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1}}}',
      '{"jsonrpc":"2.0","id":"a","error":{"code":-32600,"message":"no"}}',
    ],
    read: (text) => readMessage(parseJson(octets(text))),
  },
  {
    name: 'resource pattern',
    from: ['file:///notes/**', 'ticket://open/**'],
    read: parseResourcePattern,
  },
  {
    name: 'condition',
    from: CONDITIONS,
    read: (text) => compiler.compile(text, 'request'),
    slow: 20,
  },
  {
    name: 'intent of a task',
    from: [INTENT, INTENT_YAML],
    read: (text) => parseIntent('intent', text),
    slow: 4,
  },
  {
    name: 'header block of HTTP/2',
    from: [HEADER_BLOCK],
    read: (text) => fieldsOfBlock(Buffer.from(text, 'latin1')),
    total: true,
  },
  {
    name: 'frames of HTTP/2',
    from: [
      frame(1, 0x5, HEADER_BLOCK) + frame(0, 0, 'abc'),
      frame(4, 0, '') + frame(9, 4, HEADER_BLOCK),
    ],
    read: (text) => new Frames(http2Limits(), UNWATCHED, () => 0).read(Buffer.from(text, 'latin1')),
  },
  {
    name: 'configuration',
    from: [STARTER, deployed('documents.yaml'), deployed('deployment.yaml')],
    read: decodeYaml,
    total: true,
    slow: 20,
  },
  {
    name: 'X.509-SVID',
    from: [CHAIN],
    read: (text) =>
      parseX509Svid(
        { spiffeId: svid.id, certs: octets(text), key: svid.privateKey, hint: '' },
        Date.now(),
      ),
    slow: 4,
  },
  {
    name: 'private key',
    from: [KEY],
    read: (text) =>
      parseX509Svid(
        { spiffeId: svid.id, certs: svid.concatenated, key: octets(text), hint: '' },
        Date.now(),
      ),
    slow: 4,
  },
  {
    name: 'X.509 bundle',
    from: [ANCHOR, ANCHOR + ANCHOR],
    read: (text) => parseX509Bundle(TD, octets(text)),
  },
  {
    name: 'message of the Workload API',
    from: [[svid.id, CHAIN, KEY, ANCHOR].join(PART)],
    read: workloadMessage,
    slow: 20,
  },
  {
    name: 'JWT bundle',
    from: [jwks],
    read: (text) => parseJwtBundle(TD, octets(text)),
  },
  {
    name: 'JWT-SVID',
    from: [token],
    read: (text) =>
      validateJwtSvid(text, { audience: 'crm', bundles: JWT_BUNDLES, now: Date.now() }),
    slow: 4,
  },
  {
    name: 'ClientHello',
    from: [await clientHello()],
    read: (text) => readClientHello(Buffer.from(text, 'latin1')),
  },
];

/** Generous: the slowest takes a few milliseconds. */
const MAX_MS = 5000;

export interface Outcomes {
  taken: number;
  refused: number;
}

/**
 * Reads one distorted input; throws an error that holds the input where the reader threw anything
 * but a Fault, or took for ever.
 */
export async function readOne(
  { name, from, read }: Reader,
  random: Random,
  outcomes: Outcomes,
): Promise<void> {
  const input = distorted(random, pick(random, from), () => pick(random, from));
  const began = performance.now();
  try {
    await read(input);
    outcomes.taken++;
  } catch (failure) {
    if (!(failure instanceof Fault))
      throw new Error(`${name} threw ${String(failure)} for ${JSON.stringify(input)}`, {
        cause: failure,
      });
    outcomes.refused++;
  }
  const took = performance.now() - began;
  if (took > MAX_MS)
    throw new Error(`${name} took ${Math.round(took)} ms for ${JSON.stringify(input)}`);
}
