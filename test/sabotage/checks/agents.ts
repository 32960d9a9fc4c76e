/** Agents beside each other: what each has of its own, and that nothing stands in for it. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const shares = (title: string): ReturnType<typeof by> => by('test/exchange/shares.test.ts', title);
const identities = (title: string): ReturnType<typeof by> =>
  by('test/upstream/identities.test.ts', title);
const budget = (title: string): ReturnType<typeof by> => by('test/cmd/budget.test.ts', title);

const CONNECTIONS = shares(
  'connections of one agent beyond its share are cut and told, and another has all of its own',
);
const PLACES = shares('places and rates at a destination are those of each agent');
const OWN = identities(
  'each agent goes out with its own SVID, on connections of its own, and its records say so',
);
const MISSING = identities(
  'an agent whose SVID is not issued is refused, never served with another; nor is what is nobody’s',
);
const TOKENS = identities(
  'tokens are asked for as each agent, and none goes out with that of another',
);

export const AGENTS: readonly Sabotage[] = Object.freeze([
  sabotage(
    'connections are those of each agent',
    'lib/exchange/shares.ts',
    ['let share = this.#all.get(agent);', 'let share = [...this.#all.values()][0];'],
    CONNECTIONS,
    PLACES,
  ),
  sabotage(
    'connections of one agent have a bound',
    'lib/exchange/shares.ts',
    [
      'if (share.callers.size >= this.limits.connections && !this.#makeRoom(share)) return undefined;',
      '',
    ],
    CONNECTIONS,
  ),
  sabotage(
    'a connection of nobody’s makes room for the next',
    'lib/exchange/shares.ts',
    ['      if (!caller.idle) continue;', '      if (caller.idle) continue;'],
    shares(
      'of connections of nobody the oldest idle one makes room for one that may show its task',
    ),
  ),
  sabotage(
    'exchanges of one agent have a bound',
    'lib/exchange/shares.ts',
    ['if (share.exchanges > exchanges) throw', 'if (share.exchanges < 0) throw'],
    shares('exchanges of one agent beyond its share are 503, and another has all of its own'),
  ),
  sabotage(
    'a refusal over the rate is counted in place of its records',
    'lib/exchange/refusals.ts',
    ['if (counted.left >= 1) {', 'if (counted.left >= -1e9) {'],
    shares(
      'refusals over the rate of an agent are counted into one record; those of another are not',
    ),
    shares('a refusal that was counted has no records of its own, and is answered all the same'),
  ),
  sabotage(
    'connections are held against the limit of open files',
    'cmd/compose/budget.ts',
    ['Math.min(wanted, Math.floor((each - 2 * beside) / 4))', 'wanted'],
    budget('what all shares may open together stays below the limit of open files, whatever it is'),
  ),
  sabotage(
    'half-read messages are held against the memory of the container',
    'cmd/compose/budget.ts',
    ['Math.min(SHARE.held, (memory ?? Infinity) / MEMORY_PART)', 'SHARE.held'],
    budget(
      'half-read messages of all agents take a part of the memory of the container, in equal shares',
    ),
  ),
  sabotage(
    'an agent goes out with its own SVID',
    'lib/upstream/identities.ts',
    [
      'if (!apart || identity === undefined) return identity;',
      'if (identity !== null) return identity;',
    ],
    OWN,
    MISSING,
  ),
  sabotage(
    'the SVID of another never stands in for one that is not issued',
    'lib/upstream/identities.ts',
    [
      'const svid = svidFor(identity, wanted);',
      'const svid = svidFor(identity, wanted) ?? identity.svid;',
    ],
    MISSING,
  ),
  sabotage(
    'what a server says of its tools counts for the agent that was told',
    'lib/forward/mcp-endpoint.ts',
    ["const to = `${endpoint} ${agent?.name ?? ''}`;", 'const to = endpoint;'],
    by(
      'test/forward/mcp-listing.test.ts',
      'what a server says of its tools to one agent counts for no other',
    ),
  ),
  sabotage(
    'an SVID of an agent that expires is noticed by itself',
    'cmd/compose/identity.ts',
    [
      'if (over.some(({ name }) => !before.has(name))) reauthorize();',
      'if (over.length > before.size) reauthorize();',
    ],
    by(
      'test/cmd/agents-expiry.test.ts',
      'each SVID of an agent that expires is noticed, one that is renewed in the same moment or not',
    ),
  ),
  sabotage(
    'an SVID of an agent that has expired is not used',
    'lib/upstream/identities.ts',
    [
      'if (clock.now() < notAfter) return identity;',
      'if (clock.now() < Infinity) return identity;',
    ],
    by(
      'test/upstream/identities.test.ts',
      'an SVID of an agent that expires before the others is refused, never replaced, and what is open with it is cut',
    ),
  ),
  sabotage(
    'what is nobody’s has no identity where agents have their own',
    'lib/upstream/identities.ts',
    [
      'if (agent?.identity === undefined) return undefined;',
      'if (agent?.identity === undefined) return identity;',
    ],
    MISSING,
  ),
  sabotage(
    'a connection that showed one SVID is not for another',
    'lib/spiffe/identity.ts',
    ['return `${generation}.${svids.indexOf(svid)}`;', 'return `${generation}.${svids.length}`;'],
    OWN,
  ),
  sabotage(
    'an identity that is gone cuts what lives on it',
    'lib/exchange/interlude.ts',
    [
      '  if (identity === undefined) {',
      '  if (identity === undefined) return undefined;\n  if (identity === undefined) {',
    ],
    identities('an SVID that is no longer issued cuts the streams of its agent, and no others'),
  ),
  sabotage(
    'a token speaks for the agent that it goes out with',
    'lib/credentials/jwt-svid.ts',
    [
      'issuer.fetchJwtSvid(audience, linked.signal, spiffeId)',
      "issuer.fetchJwtSvid(audience, linked.signal, spiffeId.replace(/[^/]*$/, 'own') as SpiffeId)",
    ],
    TOKENS,
  ),
]);
