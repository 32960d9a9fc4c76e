/** The path of an exchange. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const DESCRIBE = 'lib/exchange/describe.ts';
const DIAL = 'lib/upstream/dial.ts';
const TUNNEL = 'lib/forward/client-hello.ts';
const WEBSOCKET = 'lib/forward/websocket.ts';

const NAMES = by(
  'test/upstream/resolver.test.ts',
  'a name of the agent is asked for as it stands; one of the operator by hosts file and search list',
);

export const PROXY: readonly Sabotage[] = [
  sabotage(
    'a name of the agent has no search list',
    'lib/upstream/resolver.ts',
    ['absolute ? [name] : candidates(name, conf)', 'candidates(name, conf)'],
    NAMES,
  ),
  sabotage(
    'the hosts file is for names of the operator',
    'lib/upstream/resolver.ts',
    ['absolute ? undefined : hostsNow().get(name)', 'hostsNow().get(name)'],
    NAMES,
  ),
  sabotage(
    'each destination has its share of names under way',
    'lib/upstream/resolver.ts',
    ['if (same >= MAX_OF_ONE ||', 'if (same < 0 ||'],
    by(
      'test/upstream/resolver.test.ts',
      'names that are looked up at one time have a most; one name is one lookup, whoever asks (R3)',
    ),
  ),
  sabotage(
    'a late kind of address is not waited for',
    'lib/upstream/resolver.ts',
    ['cancel = clock.after(LATE_MS, settle);', 'cancel = clock.after(60_000, settle);'],
    by(
      'test/upstream/resolver.test.ts',
      'one kind of address is enough where the other fails, or is late',
    ),
  ),
  sabotage(
    'a turn has a share of work',
    'lib/base/turns.ts',
    ['return spent >= SHARE;', 'return spent < 0;'],
    by(
      'test/base/turns.test.ts',
      'a turn is full once its share is spent, and the next one is not; short work does not count',
    ),
  ),
  sabotage(
    'long messages are read in slices',
    'lib/mcp/long-json.ts',
    ['const SLICE = 16_384;', 'const SLICE = 16_384_000;'],
    by(
      'test/mcp/long-json.test.ts',
      'a long message is read, written and digested as a short one, and others have turns in between',
    ),
  ),
  sabotage(
    'what has plainly lost its permission is decided again first',
    'lib/base/round.ts',
    ['new Set([...urgent, ...queue', 'new Set([...queue'],
    by(
      'test/exchange/live-set.test.ts',
      'a large live set is decided again in turns, what has lost its destination first',
    ),
  ),
  sabotage(
    'what is decided again quickly is counted too',
    'lib/base/round.ts',
    ['performance.now() + BUNCH_MS', 'performance.now()'],
    by(
      'test/base/round.test.ts',
      'visits that are too short to count are counted together: many of them give way (BUNCH_MS)',
    ),
  ),
  sabotage(
    'Host is the host of the target',
    DESCRIBE,
    ['if (host !== undefined && host !== authority) requireSame(named, host);', ''],
    attack('authority', 'A4 target and Host differ'),
  ),
  sabotage(
    'Host is the host of the CONNECT',
    DESCRIBE,
    [
      'if (field.host !== named.host || field.port !== named.port) throw unequal(named, field);',
      '',
    ],
    attack('authority', 'A4 target and Host differ'),
  ),
  sabotage(
    'only http:// targets are served',
    'lib/exchange/target.ts',
    [
      'if (scheme?.[1]?.toLowerCase() === served) return scheme[0].length;',
      'if (scheme !== null) return scheme[0].length;',
    ],
    attack('authority', 'S13 other schemes'),
  ),
  sabotage(
    'a task reference that is no live task is refused',
    'lib/exchange/handle.ts',
    [
      "return new Fault('task-unknown', 'Proxy-Authorization names no live task'",
      "if (credentials !== 'none') return undefined;\n" +
        "  return new Fault('task-unknown', 'Proxy-Authorization names no live task'",
    ],
    attack('headers', 'H3 a task reference that is no live task is never no task'),
  ),
  sabotage(
    'Max-Forwards ends at zero',
    DESCRIBE,
    ['if (Number(left) === 0) throw', 'if (Number(left) < 0) throw'],
    attack('headers', 'H7 Max-Forwards that ran out'),
  ),
  sabotage(
    'pages of other origins are turned away at a local listener',
    'lib/exchange/local-listener.ts',
    [
      'const own = origin === undefined || origin === `http://${host}`;',
      "const own = origin !== 'none';",
    ],
    by(
      'test/listen/listener.test.ts',
      'a local listener turns away other hosts, other origins and tunnels (A4)',
    ),
  ),
  sabotage(
    'blind requests of pages are turned away at a local listener',
    'lib/exchange/local-listener.ts',
    [
      "const OWN_SITES: ReadonlySet<string> = new Set(['same-origin', 'none']);",
      "const OWN_SITES: ReadonlySet<string> = new Set(['same-origin', 'none', 'cross-site', '']);",
    ],
    by(
      'test/listen/listener.test.ts',
      'a local listener turns away other hosts, other origins and tunnels (A4)',
    ),
  ),
  sabotage(
    'deny rules see through parameters and dots in the URIs of resources',
    'lib/net/resource.ts',
    [
      'return places.some((one) =>',
      'return [start.toLowerCase(), uri.toLowerCase()].slice(1).some((one) =>',
    ],
    by(
      'test/policy/mcp.test.ts',
      'patterns: whole, or a place and all below it; deny rules reach further',
    ),
  ),
  sabotage(
    'the judged target is what is sent',
    'lib/forward/http.ts',
    [
      'const { method, target } = described;',
      'const { method } = described;\n' +
        "  const target = relay.request.head.target.replace(/^http:\\/\\/[^/]*/, '') || '/';",
    ],
    attack('paths', 'P7 /a/b is what is judged and sent'),
  ),
  sabotage(
    'the judged host is what is sent',
    'lib/forward/outgoing.ts',
    [
      "const sent = ['host', hostField(facts, destination), ...fields, 'via', context.fields.via];",
      "const sent = ['host', fieldOf(arguments[3].request.head.fields, 'host') ?? " +
        "hostField(facts, destination), ...fields, 'via', context.fields.via];",
    ],
    attack(
      'authority',
      'A6 one trailing dot and upper case are the same host, and the canonical one is sent',
    ),
  ),
  sabotage(
    'names are judged before they are resolved',
    'lib/forward/request.ts',
    [
      'return describeRequest(this.#describeHead(time, policy), this);',
      'const head = this.#describeHead(time, policy);\n' +
        '    const early = { host: head.facts.host, port: 80, literal: false, written: false, ' +
        "destination: { tls: { mode: 'mtls' } }, addresses: {} };\n" +
        '    const { signal } = new AbortController();\n' +
        '    this.#context.upstreams.resolve(early as never, signal).catch(() => {});\n' +
        '    return describeRequest(head, this);',
    ],
    attack('authority', 'S10 names that are denied carry nothing to a resolver'),
  ),
  sabotage(
    'addresses are judged before they are dialled',
    'lib/upstream/judge-address.ts',
    [
      'judgePlaintext(route, address);\n  if (why === undefined) return undefined;',
      'judgePlaintext(route, address);\n  if (why !== null) return undefined;',
    ],
    attack('addresses', 'S2 loopback'),
  ),
  sabotage(
    'all addresses of an answer are judged',
    DIAL,
    [
      'for (const address of addresses) {\n        const fault',
      'for (const address of addresses.slice(0, 1)) {\n        const fault',
    ],
    attack('addresses', 'S7 one bad address refuses the whole answer, wherever it stands'),
  ),
  sabotage(
    'names of the agent are asked for absolutely',
    DIAL,
    ['absolute: !route.written };', 'absolute: false };'],
    attack(
      'addresses',
      'S9 a name that does not exist, or has no address, is asked for once, absolutely',
    ),
  ),
  sabotage(
    'our own listeners are never dialled',
    'lib/upstream/judge-address.ts',
    ['if (own(address, route.port)) {', "if (own('', route.port)) {"],
    attack('addresses', 'S11 the forward port'),
    attack('addresses', 'T9 the health port, on every address'),
  ),
  sabotage(
    'plaintext stays on loopback',
    'lib/upstream/judge-address.ts',
    [
      "if (mode !== 'plaintext' || insecure || address === '::1' || address.startsWith('127.')) return undefined;",
      "if (mode !== 'none') return undefined;",
    ],
    by('test/upstream/dial.test.ts', 'plaintext reaches loopback alone unless insecure is written'),
  ),
  sabotage(
    'the SNI in a tunnel is the host of the CONNECT',
    TUNNEL,
    ['if (serverName === host) return undefined;', "if (serverName !== '') return undefined;"],
    attack('tunnels', 'A1 SNI of another host'),
  ),
  sabotage(
    'a tunnel without SNI is cut',
    TUNNEL,
    ['if (serverName === undefined) return', "if (serverName === '') return"],
    attack('tunnels', 'A1 no SNI'),
  ),
  sabotage(
    'an encrypted ClientHello is cut',
    TUNNEL,
    ['if (ech && !passes)', "if (serverName === '')"],
    attack('tunnels', 'A12 encrypted ClientHello, real or GREASE, where the document denies it'),
  ),
  sabotage(
    'websocket is served or denied wherever it is offered',
    'lib/exchange/websocket-offer.ts',
    [
      "if (!offers.flatMap(list).some((protocol) => protocol.toLowerCase() === 'websocket')) return undefined;",
      "if (offers.join().toLowerCase() !== 'websocket') return undefined;",
    ],
    by(
      'test/forward/websocket.test.ts',
      'websocket anywhere in Upgrade is served, or denied where no rule allows it',
    ),
  ),
  sabotage(
    'a WebSocket that is cut is told so',
    'lib/forward/copy.ts',
    ['if (last !== undefined) socket.end(last);', ''],
    by(
      'test/exchange/refusals-told.test.ts',
      'a WebSocket that is cut by a policy that no longer allows it is told so by a Close, in mid-frame too',
    ),
  ),
  sabotage(
    'a switch answers our own handshake',
    WEBSOCKET,
    [
      "if (fieldOf(fields, 'sec-websocket-accept') !== accept) throw",
      "if (accept === 'none') throw",
    ],
    attack('tunnels', 'T4 a switch that does not answer our handshake'),
  ),
  sabotage(
    'nothing is sent before it is recorded',
    'lib/exchange/handle.ts',
    [
      'await evidence.decided(exchange, authorization);',
      'evidence.decided(exchange, authorization).catch(() => {});',
    ],
    attack('tunnels', 'R5 what cannot be recorded is not sent'),
  ),
  sabotage(
    'evidence that fails denies',
    'lib/exchange/evidence.ts',
    [
      "const failed = onFailure === 'deny' ? refuse : noted;",
      'const failed = onFailure === undefined ? refuse : noted;',
    ],
    attack('tunnels', 'R5 what cannot be recorded is not sent'),
  ),
  sabotage(
    'text of the agent cannot steer a log',
    'lib/exchange/evidence.ts',
    [".replace(UNSAFE, '?')", ''],
    by(
      'test/exchange/evidence.test.ts',
      'text from outside cannot break a line, steer a terminal or grow without bound (R7)',
    ),
  ),
  sabotage(
    'exchanges at one time are bounded',
    'lib/exchange/slots.ts',
    ['slots.taken >= limit', 'slots.taken < 0'],
    attack('tunnels', 'R2 more at one time than the destination allows'),
  ),
  sabotage(
    'request bodies are bounded',
    'lib/exchange/counted-body.ts',
    ['if (this.bytes > this.#limit) throw', 'if (this.bytes < 0) throw'],
    by(
      'test/forward/bodies.test.ts',
      'a body over limits.body is 413: said beforehand before anything is dialled, otherwise as it is found',
    ),
  ),
  sabotage(
    'a change of policy decides again what is live',
    'lib/listen/proxy.ts',
    [
      'state.identity.generation : 0);\n    this.#parts.reauthorization.all();',
      'state.identity.generation : 0);',
    ],
    by(
      'test/forward/websocket.test.ts',
      'a policy that no longer allows it cuts an open WebSocket within a second',
    ),
  ),
  sabotage(
    'an identity that is withdrawn cuts what is live',
    'lib/exchange/reauthorize.ts',
    [
      'if (needsIdentity(destination)) {',
      'if (at.state === undefined && needsIdentity(destination)) {',
    ],
    by(
      'test/exchange/live-set.test.ts',
      'identity withdrawn: open streams are cut with that reason, idle connections too, and nothing falls back',
    ),
  ),
  sabotage(
    'a change between decision and connection is found',
    'lib/exchange/reauthorize.ts',
    ['if (exchange.upstream === undefined) return;\n', ''],
    by(
      'test/exchange/live-set.test.ts',
      'a peer that a change took out between decision and connection gets nothing',
    ),
  ),
  sabotage(
    'pooled connections belong to one identity generation',
    'lib/upstream/pool-key.ts',
    ['const shows = showsIdentity(destination);', "const shows = destination.name === '';"],
    attack(
      'peers',
      'A15 after a rotation the next exchange shows the new SVID on a new connection',
    ),
  ),
  sabotage(
    'an expired identity is not used',
    'lib/exchange/authorize.ts',
    [
      'identity !== undefined && clock.now() < identity.svid.notAfter ? identity : source.current(agent)',
      'identity ?? source.current(agent)',
    ],
    attack('peers', 'C12 with an expired identity nothing is sent, and nothing falls back'),
  ),
];
