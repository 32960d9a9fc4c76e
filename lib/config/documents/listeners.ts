/** `listeners` of a Sidecar document: what a connection may take, and how long. */
import { defaulted, integer, optional, record } from '../../schema/decode.ts';
import { duration, size } from './scalars.ts';

export const listeners = defaulted(
  record({
    headersTimeout: defaulted(
      duration('10s'),
      '10s',
      'A request head that is not complete after this is refused with 408.',
    ),
    idleTimeout: defaulted(
      duration('75s'),
      '75s',
      'A connection of the agent without a request is closed after this.',
    ),
    maxConnections: defaulted(
      integer(1, 1_000_000),
      4096,
      'Connections of each agent at one time, over all listeners, and as many of what ' +
        'nobody has proved to be an agent’s; more are closed at once. Fewer where the ' +
        'limit of open files is too low for that.',
    ),
    maxHead: defaulted(
      size('32KiB', 1024, 131_072),
      '32KiB',
      'A longer request head is refused with 431, of an upstream with 502. At most ' +
        '128KiB. What follows it below is raised with it.',
    ),
    maxField: optional(
      size('16KiB', 256, 131_072),
      'A longer field line, such as a large token or cookie, is refused in the same ' +
        'way. Without it: half of `maxHead`.',
    ),
    maxFields: defaulted(
      integer(8, 1000),
      128,
      'More fields in one head are refused in the same way.',
    ),
    maxTarget: optional(
      size('8KiB', 256, 65_536),
      'A longer request target is refused with 414, and so is a path of more than half ' +
        'of it. Without it: a quarter of `maxHead`.',
    ),
    bodyTimeout: defaulted(
      duration('30s'),
      '30s',
      'A request body that is read before its request is judged (MCP) and pauses so ' +
        'long is refused with 408. Other bodies: `timeouts.idle` of the destination.',
    ),
    writeTimeout: defaulted(
      duration('60s'),
      '60s',
      'An agent or an upstream that takes nothing of what is sent to it for so ' +
        'long is cut off.',
    ),
    connectionMaxAge: defaulted(
      duration('10m'),
      '10m',
      'A pooled connection to an upstream that is older is not used again.',
    ),
    connectionIdle: defaulted(
      duration('60s'),
      '60s',
      'A pooled connection to an upstream that is not used for so long is closed.',
    ),
  }),
  {},
  'Limits of all listeners that the agent reaches, and of connections that are kept.',
);
