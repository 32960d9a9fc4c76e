/** Who is who. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const VERIFY = 'lib/spiffe/verify.ts';
const CONNECT = 'lib/tls/connect.ts';

export const IDENTITY: readonly Sabotage[] = [
  sabotage(
    'the peer has an expected SPIFFE ID',
    'lib/tls/verify-peer.ts',
    ['if (!patterns.some((pattern) => pattern.matches(id))) {', 'if (patterns.length > 99) {'],
    attack('peers', 'A14 another workload of the same trust domain'),
  ),
  sabotage(
    'the path of the peer leads to an anchor',
    CONNECT,
    ['rejectUnauthorized: true,', 'rejectUnauthorized: false,'],
    attack('peers', 'A14 the right name from an authority that nobody trusts'),
  ),
  sabotage(
    'anchors are those of the trust domains of the peers alone',
    CONNECT,
    ['tls.peers.map((peer) => peer.trustDomain),', '[...(identity?.bundles.keys() ?? [])],'],
    attack('peers', 'A14 another trust domain, though its bundle is known'),
  ),
  sabotage(
    'each of several trust domains vouches for its own alone',
    'lib/tls/verify-peer.ts',
    [
      'if (new Set(patterns.map(({ trustDomain }) => trustDomain)).size > 1) {',
      'if (patterns.length > 99) {',
    ],
    by(
      'test/tls/connect.test.ts',
      'with peers of several trust domains each is verified with its own anchors alone (X-09)',
    ),
  ),
  sabotage(
    'no anchors trust nobody',
    'lib/tls/context.ts',
    [
      'if (anchors.length > 0) return anchors.map((anchor) => anchor.toString());',
      'return anchors.map((anchor) => anchor.toString());',
    ],
    by('test/tls/context.test.ts', 'no anchors, no context: absent, empty or unnamed'),
  ),
  sabotage(
    'no session is resumed',
    CONNECT,
    [
      'const socket = rawPeerOnly(connect(connectionOptions(raw, context, options)));',
      'const kept: Map<unknown, Buffer> = ((globalThis as { kept?: Map<unknown, Buffer> ' +
        '}).kept ??= new Map());\n' +
        '    const socket = connect({ ...connectionOptions(raw, context, options), session: ' +
        'kept.get(options.contexts) });\n' +
        '    socket.on("session", (session) => kept.set(options.contexts, session));',
    ],
    by(
      'test/tls/connect.test.ts',
      'no session is ever resumed, though the upstream offers to (TLSv1.3, A15)',
    ),
  ),
  sabotage(
    'one URI name',
    VERIFY,
    ['if (more.length > 0) refuse(', 'if (more.length > 9) refuse('],
    attack('peers', 'A14 two URI SANs, the same twice, none, DNS alone, or no SPIFFE ID'),
  ),
  sabotage(
    'a CA certificate is no leaf',
    VERIFY,
    ["if (ca) refuse('the leaf is a CA certificate', '4.1');", ''],
    attack('peers', 'A14 a certificate of an authority, or one that may sign others, as leaf'),
  ),
  sabotage(
    'a leaf may not sign certificates',
    VERIFY,
    [
      "if (keyUsage.keyCertSign) refuse('the leaf may sign certificates (keyCertSign)', '4.3');",
      '',
    ],
    attack('peers', 'A14 a certificate of an authority, or one that may sign others, as leaf'),
  ),
  sabotage(
    'our own clock judges the dates of a leaf',
    VERIFY,
    ['if (now >= notAfter.getTime())', 'if (now < 0)'],
    by('test/tls/connect.test.ts', 'our own clock decides about expiry too'),
  ),
  sabotage(
    'SPIFFE IDs are not folded',
    'lib/spiffe/id.ts',
    [
      'return problemOfTrustDomain(text.slice(SCHEME.length, end))',
      'return problemOfTrustDomain(text.slice(SCHEME.length, end).toLowerCase())',
    ],
    by('test/spiffe/id.test.ts', 'says upper case is the problem rather than folding it (I-07)'),
    attack('peers', 'A14 two URI SANs, the same twice, none, DNS alone, or no SPIFFE ID'),
  ),
  sabotage(
    'a star is one whole segment',
    'lib/spiffe/pattern.ts',
    [
      'if (open ? got.length <= fixed.length : got.length !== fixed.length) return false;',
      'if (got.length < fixed.length) return false;',
    ],
    by('test/spiffe/pattern.test.ts', 'a star is exactly one whole segment'),
  ),
  sabotage(
    'callers without a verified path are refused',
    'lib/tls/accept.ts',
    ['if (problem !== undefined) throw pathFault(side, problem, claimOf(chain[0]));', ''],
    by(
      'test/tls/accept.test.ts',
      'refuses a caller without a certificate, with another ID, and of another authority',
    ),
  ),
  sabotage(
    'a connection that has agreed on nothing is not asked for a verdict',
    'lib/tls/path.ts',
    ['if (isNegotiated(socket) && socket', 'if (socket'],
    by('test/tls/key-types.test.ts', 'the process lives through keys that end the engine'),
  ),
  sabotage(
    'the engine makes no object of the certificates of a peer',
    CONNECT,
    [
      'const socket = rawPeerOnly(connect(connectionOptions(raw, context, options)));',
      'const socket = connect(connectionOptions(raw, context, options));',
    ],
    by('test/tls/key-types.test.ts', 'the process lives through keys that end the engine'),
  ),
  sabotage(
    'PermissionDenied stops the use of the SVID',
    'lib/identity/state.ts',
    [
      'return Object.freeze(withdrawn(state, event.fault, { now: context.now, denied: true }));',
      'return Object.freeze({ ...state, problem: event.fault.describe() });',
    ],
    by(
      'test/identity/source.test.ts',
      'being denied stops the use of the SVID at once, and it is asked for again (C-25, C-42)',
    ),
  ),
  sabotage(
    'what is open is cut two seconds after PermissionDenied',
    'lib/exchange/interlude.ts',
    ["return denied === 'borne' ? 'borne' : 'none';", "return 'borne';"],
    by(
      'test/exchange/live-set.test.ts',
      'identity denied: new requests are refused at once, what is open is cut two seconds later',
    ),
  ),
  sabotage(
    'another SPIFFE ID after PermissionDenied keeps nothing open',
    'lib/exchange/interlude.ts',
    ["if (interlude !== 'back' || before", "if (interlude === 'back' || before"],
    by(
      'test/exchange/live-set.test.ts',
      'identity denied, and another SPIFFE ID is there after it: what is open is cut at once',
    ),
  ),
  sabotage(
    'what is open ends with our SVID',
    'lib/exchange/interlude.ts',
    ['if (now >= notAfter) {', 'if (now < 0) {'],
    by(
      'test/exchange/live-set.test.ts',
      'our SVID expires: what is open is cut when that is looked at',
    ),
  ),
  sabotage(
    'a bad SVID that is the one meant is never passed over for another',
    'lib/identity/parse.ts',
    ["if (read?.fault !== undefined) return { kind: 'refused', fault: read.fault };", ''],
    by(
      'test/identity/parse.test.ts',
      'one bad SVID among others costs itself alone, unless it is the one that we act as (C-54, C-55)',
    ),
  ),
  sabotage(
    'skew excuses a start and nothing else',
    'lib/identity/chain.ts',
    [
      'issuers.some((issuer) => one.checkIssued(issuer) && one.verify(issuer.publicKey))',
      'issuers.length >= 0',
    ],
    by(
      'test/identity/parse.test.ts',
      'what the clock forbids is told apart from what is wrong, and a minute of skew is borne',
    ),
  ),
  sabotage(
    'a JWT-SVID has no header parameter beside alg, kid and typ',
    'lib/spiffe/jwt-svid.ts',
    ['if (other !== undefined) refuse(`has the header', "if (other === '') refuse(`has the header"],
    by(
      'test/spiffe/jwt-svid.test.ts',
      'refuses every header parameter but alg, kid and typ (J-06)',
    ),
  ),
  sabotage(
    'times of a JWT-SVID are those that a date can say',
    'lib/spiffe/jwt-svid.ts',
    ['Math.abs(claim) <= LAST_SECOND', 'Number.isFinite(claim)'],
    by(
      'test/spiffe/jwt-svid.test.ts',
      'refuses each claim that is missing or wrong (J-07, J-08, J-09)',
    ),
  ),
  sabotage(
    'a JWT-SVID has no member twice',
    'lib/spiffe/jwt-svid.ts',
    ['if (twice !== undefined) refuse(', "if (twice === '') refuse("],
    by(
      'test/spiffe/jwt-svid.test.ts',
      'refuses a member that is there twice, in header and claims, however it is spelt (J-07)',
    ),
  ),
  sabotage(
    'the key usage of an intermediate is critical',
    'lib/spiffe/verify.ts',
    ["if (!keyUsage.critical) refuse(\"an intermediate's key usage is not critical\", '4.3');", ''],
    by(
      'test/spiffe/verify.test.ts',
      'refuses an intermediate whose key usage is not critical (X-20)',
    ),
  ),
  sabotage(
    'a selected SVID is never replaced by another',
    'lib/identity/select.ts',
    ['(spiffeId === undefined || one.spiffeId === spiffeId) && ', ''],
    by('test/identity/state.test.ts', 'selects by everything that is asked for (C-27, C-29)'),
  ),
  sabotage(
    'an SVID leads to its own bundle',
    'lib/identity/parse.ts',
    ['await verifyIssuedChain(svid, bundle, clock);', ''],
    by(
      'test/identity/parse.test.ts',
      'an SVID that does not lead to its own bundle is not used (C-55, X-09)',
    ),
  ),
  sabotage(
    'a federated bundle never stands in for our own',
    'lib/identity/parse.ts',
    ['bundles: new Map([...federated, ...own]),', 'bundles: new Map([...own, ...federated]),'],
    by('test/identity/parse.test.ts', 'a federated bundle never stands in for our own (C-31)'),
  ),
  sabotage(
    'a JWT-SVID is for its audience alone',
    'lib/spiffe/jwt-svid.ts',
    ["if (audience === '' || !audiences.includes(audience)) {", "if (audience === '') {"],
    by(
      'test/spiffe/jwt-svid.test.ts',
      'refuses each claim that is missing or wrong (J-07, J-08, J-09)',
    ),
  ),
  sabotage(
    'a token is forgotten with its identity',
    'lib/credentials/jwt-svid.ts',
    [
      'tokens.keep(({ subject }) => ids.includes(subject.spiffeId));',
      'tokens.keep(() => ids.length < 1000);',
    ],
    by(
      'test/credentials/jwt-svid.test.ts',
      'tokens are forgotten with the identity they speak for',
    ),
  ),
];
