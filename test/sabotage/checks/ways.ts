/** The way to an upstream through somebody else's proxy, and how much may go there. */
import { by, sabotage, type Sabotage } from '../sabotage.ts';

const VIA = 'test/upstream/via.test.ts';
const RATES = 'test/exchange/rate-limits.test.ts';
const ADDRESSES =
  'addresses: of the proxy as the operator wrote it, of the target where it is a literal, never our own';
const ANOTHER =
  'another proxy is another connection: pools are not shared, and a tunnel through the one before is cut';

export const WAYS: readonly Sabotage[] = [
  sabotage(
    'the limits of a rule are counted',
    'lib/exchange/authorize.ts',
    ['if (limits?.rate !== undefined)', 'if (limits?.rate === null)'],
    by(RATES, 'at an MCP server the limits of a rule are those of each tool'),
  ),
  sabotage(
    'bytes that come with the tunnel of a corporate proxy are refused',
    'lib/upstream/via.ts',
    [
      'if (upgraded.early.length === 0 || mayBegin(destination))',
      'if (upgraded.early.length >= 0)',
    ],
    by(
      VIA,
      'a proxy that refuses, talks nonsense, hangs or smuggles: one answer, one pair of records, nothing carried',
    ),
  ),
  sabotage(
    'the address of a corporate proxy is judged',
    'lib/upstream/judge-address.ts',
    ['if (problem === undefined) return undefined;', "if (problem !== '') return undefined;"],
    by(VIA, ADDRESSES),
  ),
  sabotage(
    'a target behind a corporate proxy that is an address is judged',
    'lib/upstream/dial.ts',
    [
      'route.destination.via !== undefined && route.literal',
      'route.destination.via === undefined && route.literal',
    ],
    by(VIA, ADDRESSES),
  ),
  sabotage(
    'connections through different proxies are not shared',
    'lib/upstream/route.ts',
    ['    destination.via ?? null,\n', ''],
    by(VIA, ANOTHER),
  ),
  sabotage(
    'a tunnel through a proxy that the policy no longer writes is cut',
    'lib/exchange/reauthorize.ts',
    ['if (destination.via?.text !== via?.text) {', "if (destination.via?.text === 'never') {"],
    by(VIA, ANOTHER),
  ),
  sabotage(
    'credentials for a proxy are one line of user and password',
    'lib/credentials/basic.ts',
    ['!/^[^:\\p{Cc}]+:\\P{Cc}*$/u.test(line)', 'line === undefined'],
    by(VIA, 'credentials come from their file, read for each connection, and stand in no record'),
  ),
  sabotage(
    'limits.rate is enforced',
    'lib/exchange/rate-limits.ts',
    ['if (left < 1) throw', 'if (left < -1e9) throw'],
    by(
      RATES,
      'over limits.rate: 503 with Retry-After in the time that it takes, recorded, and nothing is dialled',
    ),
  ),
  sabotage(
    'limits.response is enforced on what an answer says',
    'lib/exchange/counted-body.ts',
    ['if ((body.length ?? 0) > limit) throw responseTooLarge(limit);', ''],
    by(
      RATES,
      'an answer over limits.response is 502 where it says its length, and reaches the agent in no part',
    ),
  ),
  sabotage(
    'limits.response is enforced on what an answer is',
    'lib/exchange/counted-body.ts',
    [
      'return { ...response, body: new CountedBody(body, () => {}, limit, responseTooLarge) };',
      'return response;',
    ],
    by(
      RATES,
      'an answer that grows over limits.response is cut, so that it looks cut, and recorded',
    ),
  ),
];
