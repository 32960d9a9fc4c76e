import t from 'tap';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { rawUpstream } from '../support/upstream.ts';

interface Row {
  readonly title: string;
  readonly request: string;
  readonly status: number;
  readonly code: string;
  readonly hint?: RegExp;
}

const get = (target: string, host = 'crm.internal', more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
const field = (line: string, method = 'GET'): string =>
  `${method} http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${line}\r\n\r\n`;
const bad = (title: string, request: string, hint?: RegExp): Row => ({
  title,
  request,
  status: 400,
  code: 'malformed',
  ...(hint && { hint }),
});
const two = (title: string, request: string): Row => ({
  title,
  request,
  status: 400,
  code: 'ambiguous',
});

const ROWS: readonly Row[] = [
  bad('origin-form at the forward port', get('/v1'), /http:\/\/host\/path/),
  bad('asterisk-form at the forward port', 'OPTIONS * HTTP/1.1\r\nHost: crm.internal\r\n\r\n'),
  bad('https in absolute-form (S13)', get('https://crm.internal/'), /CONNECT/),
  bad('file: in absolute-form (S13)', get('file:///etc/passwd')),
  bad('gopher: in absolute-form (S13)', get('gopher://crm.internal/1')),
  bad('ws: in absolute-form (S13)', get('ws://crm.internal/')),
  bad('unix: in absolute-form (S13)', get('unix:///run/spire/api.sock')),
  two('absolute-form authority and Host differ (A4)', get('http://crm.internal/', 'evil.com')),
  two(
    'the port of absolute-form and of Host differ (A4)',
    get('http://crm.internal/', 'crm.internal:8080'),
  ),
  bad(
    'two Hosts (A4)',
    'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nHost: crm.internal\r\n\r\n',
  ),
  bad('no Host (A4)', 'GET http://crm.internal/ HTTP/1.1\r\n\r\n'),
  bad('user information (A5)', get('http://crm.internal@evil.com/', 'evil.com')),
  bad('user information with a password (A5)', get('http://a:b@crm.internal/')),
  bad('a backslash in the authority (A5)', get('http://crm.internal\\@evil.com/')),
  bad('a fragment (A5, P3)', get('http://crm.internal/#x')),
  bad('a fragment right behind the host (A5)', get('http://crm.internal#@evil.com/')),
  bad('two trailing dots (A6)', get('http://crm.internal../', 'crm.internal..')),
  bad('brackets around a name (A6)', get('http://[crm.internal]/', '[crm.internal]')),
  bad('a percent-escape in the host (A7)', get('http://crm%2einternal/', 'crm%2einternal')),
  bad('port 0 (A11)', get('http://crm.internal:0/', 'crm.internal:0')),
  bad('port with a leading zero (A11)', get('http://crm.internal:080/', 'crm.internal:080')),
  bad('two ports (A11)', get('http://crm.internal:80:80/', 'crm.internal:80:80')),
  bad('an empty port (A11)', get('http://crm.internal:/', 'crm.internal:')),
  bad('a port out of range (A11)', get('http://crm.internal:65536/', 'crm.internal:65536')),
  bad('a decimal address (S1)', get('http://2130706433/', '2130706433')),
  bad('a hexadecimal address (S1)', get('http://0x7f.1/', '0x7f.1')),
  bad('an octal address (S1)', get('http://0177.0.0.1/', '0177.0.0.1')),
  bad('a zone identifier (S5)', get('http://[fe80::1%25eth0]/', '[fe80::1%25eth0]')),
  bad('a path above the root (P1)', get('http://crm.internal/a/../../etc')),
  bad('an escaped slash (P3)', get('http://crm.internal/a%2fb')),
  bad('a path parameter (P4)', get('http://crm.internal/a;b/c')),
  {
    title: 'a task reference that cannot be live',
    request: field('Proxy-Authorization: Basic dDpz'),
    status: 407,
    code: 'task-unknown',
  },
  {
    title: 'an empty task reference',
    request: field('Proxy-Authorization:'),
    status: 407,
    code: 'task-unknown',
  },
  bad('Connection names Host (H2)', field('Connection: host')),
  bad('Connection names Authorization (H2)', field('Connection: close, Authorization')),
  bad(
    'Connection names Content-Length (H2)',
    field('Content-Length: 0\r\nConnection: content-length', 'POST'),
  ),
  bad('Connection names a field of ours (H2)', field('Connection: x-spiffe-id')),
  bad('Connection names a field of ours with an underscore (H2)', field('Connection: x_spiffe_id')),
  two('a method override (F11)', field('X-HTTP-Method-Override: DELETE', 'POST')),
  two('a method override under another name (F11)', field('X-Method-Override: DELETE', 'POST')),
  two('a method override with underscores (F11)', field('X_HTTP_Method: DELETE', 'POST')),
  two('a path override', field('X-Original-URL: /admin')),
  two('two Authorizations (H6)', field('Authorization: Bearer a\r\nAuthorization: Bearer b')),
  two('two Content-Types (H6)', field('Content-Type: a/b\r\nContent-Type: c/d')),
  bad(
    'Content-Length and Transfer-Encoding (F1)',
    field('Content-Length: 3\r\nTransfer-Encoding: chunked', 'POST'),
  ),
  bad('GET with a body (F3)', field('Content-Length: 3\r\n\r\nabc')),
  {
    title: 'TRACE (F12)',
    request: field('X: y', 'TRACE'),
    status: 501,
    code: 'method-not-supported',
  },
  {
    title: 'a lower-case method (F12)',
    request: field('X: y', 'get'),
    status: 501,
    code: 'method-not-supported',
  },
  {
    title: 'another expectation',
    request: field('Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx', 'POST'),
    status: 417,
    code: 'expectation-failed',
  },
  {
    title: 'Max-Forwards at zero (H7)',
    request: field('Max-Forwards: 0', 'OPTIONS'),
    status: 508,
    code: 'loop',
  },
  {
    title: 'a port that is not listed (A11)',
    request: get('http://crm.internal:22/', 'crm.internal:22'),
    status: 403,
    code: 'denied',
  },
  {
    title: 'a suffix without a dot (A10)',
    request: get('http://evilcrm.internal/', 'evilcrm.internal'),
    status: 403,
    code: 'denied',
  },
  bad('CONNECT without a port', 'CONNECT crm.internal HTTP/1.1\r\nHost: crm.internal\r\n\r\n'),
  bad('CONNECT with a path', 'CONNECT crm.internal:443/x HTTP/1.1\r\nHost: crm.internal\r\n\r\n'),
  bad(
    'CONNECT with user information (A5)',
    'CONNECT a@crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\n\r\n',
  ),
  bad(
    'CONNECT with a question mark (A5)',
    'CONNECT crm.internal:443?x HTTP/1.1\r\nHost: crm.internal\r\n\r\n',
  ),
  bad(
    'CONNECT with a URL',
    'CONNECT https://crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\n\r\n',
  ),
  two(
    'CONNECT and Host differ (A4)',
    'CONNECT crm.internal:443 HTTP/1.1\r\nHost: evil.com:443\r\n\r\n',
  ),
  two(
    'CONNECT and the port of Host differ (A4)',
    'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:80\r\n\r\n',
  ),
  bad(
    'CONNECT with a body',
    'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\nContent-Length: 3\r\n\r\nabc',
  ),
  {
    title: 'CONNECT with a task reference',
    request:
      'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\nProxy-Authorization: ' +
      'Basic x\r\n\r\n',
    status: 407,
    code: 'task-unknown',
  },
  {
    title: 'CONNECT to 443 of an HTTP destination (T1)',
    request: 'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\n\r\n',
    status: 403,
    code: 'wrong-entry',
    hint: /http:\/\//,
  },
];

t.test(
  'what is malformed, ambiguous or not allowed is named and reaches nobody; what is not understood ends it',
  async (t) => {
    await using upstream = await rawUpstream();
    const at = { host: '127.0.0.1', port: upstream.port };
    await using proxy = await testProxy({
      destinations: [testDestination({ mode: 'plaintext', ports: [80, 443], upstream: at })],
    });
    for (const { title, request, status, code, hint } of ROWS) {
      await t.test(title, async (t) => {
        const before = proxy.audit.records.length;
        // A second request behind one that was not understood is never looked at (F5).
        const understood = !request.startsWith('CONNECT') && [403, 407, 421, 508].includes(status);
        const answer = await proxy.ask(
          understood ? request : request + get('http://crm.internal/second'),
        );
        t.equal(statusOf(answer), status, answer);
        t.equal(answer.match(/^HTTP\/1\.1 \d/gm)?.length, 1, 'one answer');
        t.equal(/\r\nconnection: close\r\n/.test(answer), !understood);
        const { code: said, decision, message } = refusal(answer);
        t.equal(said, code);
        if (hint !== undefined) t.match(message, hint);
        await proxy.quiet();
        const records = proxy.audit.records.slice(before);
        t.same(
          records.map(({ kind }) => kind),
          [status === 403 ? 'decided' : 'refused', 'ended'],
        );
        t.match(records, [{ exchange: decision }, { exchange: decision, status }]);
        if (status === 407) t.match(answer, /proxy-authenticate: Basic/);
      });
    }
    t.same(upstream.connections, []);
    t.same(proxy.asked, [], 'nothing was resolved (S10)');
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('what is canonical is what is sent: authority, path and query (P7)', async (t) => {
  await using upstream = await rawUpstream();
  const destinations = [
    testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } }),
  ];
  await using proxy = await testProxy({ destinations });
  const rows: readonly (readonly [string, string, string, string])[] = [
    ['http://crm.internal', 'crm.internal', '/', 'crm.internal'],
    ['http://CRM.Internal:80/A', 'crm.internal', '/A', 'crm.internal'],
    ['HTTP://crm.internal./a', 'crm.internal.', '/a', 'crm.internal'],
    ['http://crm.internal/a/%62/%7Eu', 'CRM.internal:80', '/a/b/~u', 'crm.internal'],
    ['http://crm.internal?x=1&x=2', 'crm.internal', '/?x=1&x=2', 'crm.internal'],
  ];
  for (const [target, host, sent, authority] of rows) {
    const answer = await proxy.ask(get(target, host, 'Connection: close\r\n'));
    t.equal(statusOf(answer), 200, target);
    const echo: { url: string; headers: string[] } = JSON.parse(
      answer.slice(answer.indexOf('\r\n\r\n') + 4),
    );
    t.equal(echo.url, sent, target);
    t.same(echo.headers.slice(0, 2), ['host', authority]);
  }
});

t.test('HTTP/1.0 without Host is served and its connection ends', async (t) => {
  await using upstream = await rawUpstream();
  await using proxy = await testProxy({
    destinations: [
      testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } }),
    ],
  });
  const answer = await proxy.ask('GET http://crm.internal/ HTTP/1.0\r\n\r\n');
  t.equal(statusOf(answer), 200);
});
