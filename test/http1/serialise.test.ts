import fc from 'fast-check';
import t from 'tap';

import { parseRequestHead, parseResponseHead } from '../../lib/http1/head.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Fields, OutgoingRequest } from '../../lib/http/message.ts';
import type { SendFraming } from '../../lib/http1/serialise.ts';
import { informText, requestText, responseText, trailerText } from '../../lib/http1/serialise.ts';

const LIMITS = httpLimits();
const TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
const TAKEN = new Set(
  'host content-length transfer-encoding connection keep-alive upgrade expect'.split(' '),
);

const characters = (from: string, minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...from.split('')), minLength, maxLength });
const VISIBLE = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => i + 33));
const name = characters(TOKEN_CHARACTERS, 1, 20).filter((text) => !TAKEN.has(text));
const value = characters(`${VISIBLE} \t`, 0, 40).map((text) =>
  text.replace(/^[ \t]+|[ \t]+$/g, ''),
);
const fields: fc.Arbitrary<Fields> = fc
  .array(fc.tuple(name, value), { maxLength: 12 })
  .map((lines) => lines.flat());
const method = fc.constantFrom(
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'PROPFIND',
  'M-SEARCH',
);
const target = characters(VISIBLE, 1, 60);

t.test('a request that is serialised and parsed is the same request (F10)', async (t) => {
  const framing = fc.oneof(
    fc.constant({ kind: 'none' } as const),
    fc.constant({ kind: 'chunked' } as const),
    fc.nat().map((length) => ({ kind: 'length', length }) as const),
  );
  fc.assert(
    fc.property(method, target, fields, framing, (method, target, fields, framing) => {
      const bodiless = method === 'GET' || method === 'HEAD';
      const sent: OutgoingRequest = {
        method,
        target,
        fields: ['host', 'a', ...fields],
        framing: bodiless ? { kind: 'none' } : framing,
      };
      const got = parseRequestHead(requestText(sent), LIMITS);
      const line = {
        none: [],
        chunked: ['transfer-encoding', 'chunked'],
        length: ['content-length', String('length' in sent.framing && sent.framing.length)],
      };
      const kind = sent.framing.kind === 'until-close' ? 'none' : sent.framing.kind;
      t.strictSame(got, {
        method,
        target,
        minor: 1,
        fields: [...sent.fields, ...line[kind]],
        framing: sent.framing,
        keepAlive: true,
        expectContinue: false,
      });
      return true;
    }),
    { numRuns: 500 },
  );
});

t.test('a reason phrase of ours is printable ASCII, or it is not sent', async (t) => {
  const text = (reason: string): string =>
    responseText({ status: 403, reason, fields: [], length: 0 }, 0, false);
  t.match(text('chaperone: no'), /^HTTP\/1\.1 403 chaperone: no\r\n/);
  for (const reason of ['a\r\nb', 'a\u0000', 'caf\u00e9', '\t'])
    t.throws(() => text(reason), TypeError, JSON.stringify(reason));
});

t.test('a response that is serialised and parsed is the same response (F10)', async (t) => {
  const status = fc.integer({ min: 200, max: 599 });
  const framing: fc.Arbitrary<SendFraming> = fc.oneof(
    fc.constantFrom('chunked', 'until-close'),
    fc.nat(),
  );
  fc.assert(
    fc.property(status, fields, framing, fc.boolean(), (status, fields, framing, close) => {
      const bodiless = status === 204 || status === 304;
      const send = bodiless ? 'none' : framing;
      const got = parseResponseHead(
        responseText({ status, fields, length: undefined }, send, close),
        'GET',
        LIMITS,
      );
      t.equal(got?.status, status);
      t.strictSame(got?.fields.slice(0, fields.length), fields);
      const expected = typeof send === 'number' ? { kind: 'length', length: send } : { kind: send };
      t.strictSame(got?.framing, expected);
      t.equal(got?.keepAlive, !close && send !== 'until-close');
      return true;
    }),
    { numRuns: 500 },
  );
});

t.test('what would change the meaning of a message cannot be sent (F10)', async (t) => {
  const request = (changes: Partial<OutgoingRequest>) => () =>
    requestText({ method: 'GET', target: '/', fields: [], framing: { kind: 'none' }, ...changes });
  t.throws(request({ framing: { kind: 'until-close' } }), TypeError);
  t.throws(
    request({ upgrade: 'websocket', framing: { kind: 'length', length: 3 } }),
    TypeError,
    'a body with an upgrade (F3)',
  );
  for (const upgrade of ['', 'a b', 'a\r\nb: c', 'websocket, h2c'])
    t.throws(request({ upgrade }), TypeError, upgrade);
  for (const method of ['', 'G T', 'GET\r\n', 'G:T'])
    t.throws(request({ method }), TypeError, JSON.stringify(method));
  for (const target of ['', '/a b', '/a\r\nx: y', '/\u00e4', '/\u20ac', '/\0'])
    t.throws(request({ target }), TypeError, JSON.stringify(target));
  for (const bad of [
    'a\r\nb: c',
    'a\nb',
    'a\rb',
    '\0',
    '\x7f',
    '\u20ac',
    '\ud83d\ude00',
    '\u010d\u010a',
  ]) {
    t.throws(request({ fields: ['x', bad] }), TypeError, JSON.stringify(bad));
    t.throws(
      () => responseText({ status: 200, fields: ['x', bad], length: 0 }, 0, false),
      TypeError,
    );
    t.throws(() => trailerText(['x', bad]), TypeError);
  }
  for (const bad of ['', 'A', 'a b', 'a:', 'a\r\n', '\u00e4', '\u20ac', ':path'])
    t.throws(request({ fields: [bad, 'x'] }), TypeError, JSON.stringify(bad));
  for (const reserved of [
    'content-length',
    'transfer-encoding',
    'connection',
    'keep-alive',
    'upgrade',
  ]) {
    t.throws(request({ fields: [reserved, 'x'] }), TypeError, reserved);
  }
  t.throws(request({ fields: ['odd'] }), TypeError, 'a name without a value');
  for (const status of [99, 600, 200.5, Number.NaN])
    t.throws(() => responseText({ status, fields: [], length: 0 }, 0, false), TypeError);
  for (const status of [99, 101, 200]) t.throws(() => informText(status, []), TypeError);
});

t.test('upgrade and close are written as asked', async (t) => {
  t.equal(
    requestText({
      method: 'GET',
      target: '/',
      fields: ['host', 'a'],
      framing: { kind: 'none' },
      upgrade: 'websocket',
    }),
    'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  );
  t.equal(
    responseText({ status: 404, fields: [], length: 0 }, 0, true),
    'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
  );
  t.equal(
    responseText({ status: 299, fields: [], length: 0 }, 'chunked', false),
    'HTTP/1.1 299 \r\ntransfer-encoding: chunked\r\n\r\n',
  );
  t.equal(informText(100, []), 'HTTP/1.1 100 Continue\r\n\r\n');
});
