import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { formatAuthority, parseAuthority } from '../../lib/net/authority.ts';

t.test('an authority is a host and a port', async (t) => {
  t.same(parseAuthority('crm.internal:8443', undefined), { host: 'crm.internal', port: 8443 });
  t.same(parseAuthority('crm.internal', 80), { host: 'crm.internal', port: 80 });
  t.same(parseAuthority('CRM.internal.:80', 443), { host: 'crm.internal', port: 80 });
  t.same(parseAuthority('[::1]:65535', undefined), { host: '::1', port: 65535 });
  t.same(parseAuthority('[2001:DB8::1]', 443), { host: '2001:db8::1', port: 443 });
});

t.test('ports have one spelling (A11)', async (t) => {
  for (const port of [
    '',
    '0',
    '00',
    '0443',
    '443:80',
    '65536',
    '99999',
    '100000',
    '+80',
    '-1',
    ' 80',
    '80 ',
    '8e1',
    '0x50',
    '８０',
  ]) {
    t.throws(
      () => parseAuthority(`crm.internal:${port}`, 80),
      { code: 'malformed' },
      JSON.stringify(port),
    );
    t.throws(
      () => parseAuthority(`[::1]:${port}`, 80),
      { code: 'malformed' },
      JSON.stringify(port),
    );
  }
  t.throws(
    () => parseAuthority('crm.internal', undefined),
    { code: 'malformed' },
    'a port is needed',
  );
});

t.test('user information and anything else around the host is malformed (A5, S13)', async (t) => {
  for (const text of [
    'allowed.com@evil.com:80',
    'user:pass@evil.com:80',
    'allowed.com:80@evil.com:80',
    'allowed.com\\@evil.com:80',
    'allowed.com#@evil.com:80',
    'allowed.com?@evil.com:80',
    'allowed.com/:80',
    'http://allowed.com:80',
    'unix:/run/x.sock',
    '::1:80',
    '[::1]80',
    '[::1]x:80',
    '[::1]]:80',
    ':80',
    '',
  ]) {
    t.throws(() => parseAuthority(text, undefined), { code: 'malformed' }, JSON.stringify(text));
  }
});

t.test(
  'what is formatted reads back as itself, and nothing but a malformed Fault is thrown (P7)',
  async (t) => {
    const authority = fc.oneof(
      fc.string(),
      fc
        .tuple(
          fc.oneof(
            fc.domain(),
            fc.ipV4(),
            fc.ipV6().map((ip) => `[${ip}]`),
          ),
          fc.integer({ min: 1, max: 65535 }),
        )
        .map(([host, port]) => `${host}:${port}`),
    );
    let read = 0;
    fc.assert(
      fc.property(authority, (text) => {
        try {
          const { host, port } = parseAuthority(text, undefined);
          read += 1;
          const again = parseAuthority(formatAuthority(host, port), undefined);
          const short = parseAuthority(formatAuthority(host, port, port), port);
          return (
            again.host === host && again.port === port && short.host === host && short.port === port
          );
        } catch (error) {
          return error instanceof Fault && error.code === 'malformed';
        }
      }),
      { numRuns: 2000 },
    );
    t.ok(read > 200, `${read} were read`);
  },
);
