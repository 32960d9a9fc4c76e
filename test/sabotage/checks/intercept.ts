/** Inside the agent's TLS, and what the CA of the interception may do. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

const AUTHORITY = 'lib/interception/authority.ts';
const KEY = 'lib/interception/ca-key.ts';
const NAME = 'lib/tls/server-name.ts';
const authority = (title: string): ReturnType<typeof by> =>
  by('test/interception/authority.test.ts', title);
const kept = by(
  'test/interception/ca-key.test.ts',
  'a folder or a file that is not the sidecar’s alone is refused, and left as it is (T7)',
);
const web = by(
  'test/tls/web.test.ts',
  'who proves the name that was asked for, and nobody else (RFC 9525)',
);

export const INTERCEPT: readonly Sabotage[] = [
  sabotage(
    'the name constraints of the CA are critical',
    'lib/interception/issue.ts',
    ["new Extension('2.5.29.30', true,", "new Extension('2.5.29.30', false,"],
    authority(
      'the authority is bounded in time, may issue leaves for servers alone, and names its domains',
    ),
  ),
  sabotage(
    'Host is held against the tunnel too where the target names it',
    'lib/exchange/describe.ts',
    ["if (authority !== host) requireTunnel(parseAuthority(host, port), tunnel, 'host');", ''],
    attack('tunnels', 'A2 another host inside than the tunnel goes to, in target or Host alone'),
  ),
  sabotage(
    'a policy change cuts an intercepted tunnel',
    'lib/listen/intercepted.ts',
    [
      `const inside = link(closing, exchange.signal);
  let cancel = (): void => {};
  const off = onAbort(exchange.signal, () =>`,
      `const inside = link(closing);
  let cancel = (): void => {};
  const off = onAbort(inside.signal, () =>`,
    ],
    by(
      'test/listen/intercepted.test.ts',
      'a policy that no longer allows the destination cuts its tunnels; one that no longer intercepts it too',
    ),
  ),
  sabotage(
    'hosts that are intercepted lie inside the declared domains',
    'lib/config/checks/set.ts',
    ['if (isUnder(host, domains)) return [];', 'if (domains.length > 0) return [];'],
    by('test/config/set-checks.test.ts', 'intercepted-hosts-are-declared'),
  ),
  sabotage(
    'no certificate for a host outside the domains',
    AUTHORITY,
    ['if (!this.covers(host)) {', "if (host === '') {"],
    authority('a host outside the domains gets nothing'),
  ),
  sabotage(
    'the CA is limited to its domains by name constraints',
    AUTHORITY,
    [
      'nameConstraints: { dns: domains, noAddresses: true },',
      'nameConstraints: { noAddresses: true },',
    ],
    authority(
      'with the key in hand nothing outside the domains can be issued that clients take (T7)',
    ),
  ),
  sabotage(
    'the CA vouches for no address',
    AUTHORITY,
    ['nameConstraints: { dns: domains, noAddresses: true },', 'nameConstraints: { dns: domains },'],
    authority(
      'with the key in hand nothing outside the domains can be issued that clients take (T7)',
    ),
  ),
  sabotage(
    'a leaf lasts a day at most',
    AUTHORITY,
    ['Math.min(notBefore + LEAF_LIFETIME,', 'Math.min(notBefore + 2 * LEAF_LIFETIME,'],
    authority(
      'a leaf is for its host alone, by name, for a day at most, and the authority vouches for it (T7)',
    ),
  ),
  sabotage(
    'a leaf is replaced before it ends',
    'lib/interception/leaf-cache.ts',
    ['if (leaf !== undefined && now() < leaf.renewAt) {', 'if (leaf !== undefined) {'],
    by(
      'test/interception/leaf-cache.test.ts',
      'a leaf near its end is replaced before it is shown',
    ),
  ),
  sabotage(
    'leaves are bounded in number',
    'lib/interception/leaf-cache.ts',
    ['if (kept.size <= most) break;', 'if (kept.size > 0) break;'],
    by(
      'test/interception/leaf-cache.test.ts',
      'the least recently used leaf goes, and no more than the most are kept (T7)',
    ),
  ),
  sabotage(
    'the key of the CA is for its owner alone',
    KEY,
    ['if ((mode & 0o077) !== 0)', 'if (mode < 0)'],
    kept,
  ),
  sabotage(
    'the key of the CA is no link',
    KEY,
    ['constants.O_RDONLY | constants.O_NOFOLLOW', 'constants.O_RDONLY'],
    kept,
  ),
  sabotage(
    'the folder of the key is no link',
    KEY,
    [
      "if (!found.isDirectory()) throw refused(folder, 'is no folder'",
      "if (found.isSocket()) throw refused(folder, 'is no folder'",
    ],
    kept,
  ),
  sabotage('a common name proves nothing', NAME, ["subject: 'never',", "subject: 'always',"], web),
  sabotage(
    'no wildcard within a label',
    NAME,
    ['partialWildcards: false,', 'partialWildcards: true,'],
    web,
  ),
  sabotage(
    'an interception CA vouches for no upstream',
    'lib/tls/connect.ts',
    [
      "if (tls.mode !== 'mtls' && chain[0] !== undefined && isStandIn(chain[0])) {",
      "if (tls.mode === 'passthrough' && chain[0] !== undefined && isStandIn(chain[0])) {",
    ],
    by(
      'test/tls/web.test.ts',
      'an interception CA vouches for no upstream, even where the environment made this process trust it',
    ),
  ),
];
