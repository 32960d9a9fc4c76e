import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { endpointFrom, parseEndpoint } from '../../lib/identity/address.ts';

const ACCEPTED: readonly (readonly [string, string])[] = [
  ['unix:///foo', 'unix:/foo'],
  ['unix:/path/to/endpoint.sock', 'unix:/path/to/endpoint.sock'],
  ['unix:///path/to/endpoint.sock', 'unix:/path/to/endpoint.sock'],
  ['unix:///a%20b.sock', 'unix:/a b.sock'],
  ['tcp://127.0.0.1:8000', 'ipv4:127.0.0.1:8000'],
  ['tcp://1.2.3.4:5', 'ipv4:1.2.3.4:5'],
  ['tcp://[::1]:8080', 'ipv6:[::1]:8080'],
];

const REFUSED = [
  '\t',
  'blah',
  'blah:///foo',
  '///foo',
  '/foo',
  '',
  ' ',
  'unix:opaque',
  'unix:tmp/sock',
  'unix:',
  'unix://',
  'unix:/',
  'unix:///',
  'unix://foo',
  'unix://tmp/x.sock',
  'unix:///foo?whatever',
  'unix:///foo#whatever',
  'unix:////foo',
  'unix://john:doe@foo/path',
  'unix:///foo/',
  'unix:///a b',
  'unix:///a\u0000',
  'unix:///a%00',
  'unix:///a%zz',
  'UNIX:///foo',
  'unix:///é',
  `unix:///${'a'.repeat(108)}`,
  'tcp:opaque',
  'tcp://',
  'tcp:///test',
  'tcp://foo',
  'tcp://foo:9000',
  'tcp://localhost:8000',
  'tcp://1.2.3.4',
  'tcp://1.2.3.4:5?whatever',
  'tcp://1.2.3.4:5#whatever',
  'tcp://john:doe@1.2.3.4:5/path',
  'tcp://:secret@127.0.0.1:8080',
  'tcp://1.2.3.4:5/path',
  'tcp://1.2.3.4:5/',
  'tcp:127.0.0.1:8081',
  'tcp://1.2.3.4:0',
  'tcp://1.2.3.4:65536',
  'tcp://1.2.3.4:080',
  'tcp://127.1:80',
  'tcp://::1:80',
  'tcp://[1.2.3.4]:80',
  'tcp://[fe80::1%25eth0]:80',
  'http://127.0.0.1:80',
  'tcp://1.2.3.4:-1',
];

function refusal(act: () => unknown): Fault {
  try {
    act();
  } catch (failure) {
    if (failure instanceof Fault) return failure;
    throw failure;
  }
  throw new Error('was accepted');
}

t.test('takes a socket or an IP address with a port (C-02, C-03, C-04)', async (t) => {
  for (const [text, target] of ACCEPTED) t.match(parseEndpoint(text), { target, text });
  t.equal(parseEndpoint('unix:///a%20b.sock').path, '/a b.sock');
});

t.test('refuses everything else with a named error and a fix (C-02, C-03, C-04)', async (t) => {
  for (const text of REFUSED) {
    const fault = refusal(() => parseEndpoint(text));
    t.equal(fault.code, 'workload-api-address', JSON.stringify(text.slice(0, 40)));
    t.ok(fault.hint);
  }
});

t.test('guesses what two slashes were meant to be (C-05)', async (t) => {
  t.match(
    refusal(() => parseEndpoint('unix://tmp/x.sock')).hint,
    /did you mean unix:\/\/\/tmp\/x\.sock\?/,
  );
  t.match(refusal(() => parseEndpoint('/tmp/x.sock')).hint, /unix:\/\/\/tmp\/x\.sock/);
  t.notMatch(
    refusal(() => parseEndpoint('unix://john:doe@foo/path')).describe(),
    /did you mean.*doe/,
  );
});

t.test(
  'configuration wins over the variable, and neither is an error that names it (C-01, C-06)',
  async (t) => {
    const env = { SPIFFE_ENDPOINT_SOCKET: 'unix:///from/env' };
    t.equal(endpointFrom('unix:///configured', env).path, '/configured');
    t.equal(endpointFrom(undefined, env).path, '/from/env');
    for (const empty of [{}, { SPIFFE_ENDPOINT_SOCKET: '' }]) {
      t.match(refusal(() => endpointFrom(undefined, empty)).describe(), /SPIFFE_ENDPOINT_SOCKET/);
    }
    t.equal(
      refusal(() => endpointFrom(undefined, { SPIFFE_ENDPOINT_SOCKET: 'x' })).at,
      'SPIFFE_ENDPOINT_SOCKET',
    );
    t.equal(
      refusal(() => endpointFrom('x', env)).at,
      undefined,
      'a bad configuration does not fall back',
    );
  },
);
