/** Inside tunnels, and HTTP/2. */
import { attack, by, sabotage, type Sabotage } from '../sabotage.ts';

export const TUNNEL: readonly Sabotage[] = [
  sabotage(
    'requests inside a tunnel are for the host of the tunnel',
    'lib/exchange/describe.ts',
    ['if (named.host === host && named.port === port) return;', 'if (port > 0) return;'],
    attack('tunnels', 'A2 another host inside than the tunnel goes to'),
  ),
  sabotage(
    'no host is stood in for that the authority does not cover',
    'lib/listen/intercepted.ts',
    [
      'if (interception?.covers(authority.host) !== true) throw',
      'if (interception === undefined) throw',
    ],
    attack('tunnels', 'T7 a host that the authority does not cover is not stood in for'),
  ),
  sabotage(
    'TLS in a tunnel that nobody ends goes no further',
    'lib/listen/intercepted.ts',
    [
      'else if (context === undefined) throw await refuseTls',
      'else if (context === null) throw await refuseTls',
    ],
    by(
      'test/listen/cleartext.test.ts',
      'TLS where nothing is intercepted gets an alert and the record wrong-entry',
    ),
  ),
  sabotage(
    'nothing but TLS is taken at port 443',
    'lib/listen/intercepted.ts',
    ["if (kind !== 'tls' && authority.port !== HTTPS_PORT)", "if (kind !== 'tls')"],
    attack('tunnels', 'T3 anything but TLS'),
  ),
  sabotage(
    'a refusal is told inside for hosts of the CA alone',
    'lib/listen/refuse-inside.ts',
    ["if (interception?.refusals !== 'inside' || !interception.covers(host)) return false;", ''],
    by(
      'test/listen/refuse-inside.test.ts',
      '407, malformed requests, other domains and what is over the rate are answered at the CONNECT',
    ),
  ),
  sabotage(
    'over HTTP/2, :authority and Host are equal',
    'lib/http2/head.ts',
    ['authority.toLowerCase() !== host.toLowerCase()', 'authority === host.toUpperCase()'],
    attack('authority', 'A4 target and Host differ'),
  ),
  sabotage(
    'over HTTP/2, a field that the engine drops refuses the request',
    'lib/http2/server.ts',
    ['if (seen.fields !== raw.length / 2) throw', 'if (seen.fields === -1) throw'],
    by('test/http2/server.test.ts', 'F6, H9: heads that do not translate are refused one by one'),
  ),
  sabotage(
    'over HTTP/2, a field with what it may not hold refuses the request',
    'lib/http2/hpack.ts',
    ['classes(code) & (VALUE | OBS_TEXT)) !== 0', 'classes(code) & VALUE) >= 0'],
    by('test/http2/server.test.ts', 'F6, H9: heads that do not translate are refused one by one'),
  ),
];
