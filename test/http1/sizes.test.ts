/** Limits of one head fit one another, and each refusal of a size names the key that helps. */
import { PassThrough } from 'node:stream';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { IncomingBody } from '../../lib/http1/body.ts';
import { parseRequestHead } from '../../lib/http1/head.ts';
import { ReadBuffer } from '../../lib/http1/read-buffer.ts';
import { headLimits, httpLimits } from '../../lib/http/limits.ts';

const KIB = 1024;

t.test('what raises the head raises field, target and path', async (t) => {
  t.match(
    httpLimits(),
    headLimits({ maxHead: 32 * KIB }),
    'the defaults are those of a head of 32 KiB',
  );
  const high = {
    headBytes: 128 * KIB,
    fieldBytes: 64 * KIB,
    targetBytes: 32 * KIB,
    pathBytes: 16 * KIB,
  };
  t.same(headLimits({ maxHead: 128 * KIB }), high);
  t.match(headLimits({ maxHead: 32 * KIB, maxField: 30 * KIB }), {
    fieldBytes: 30 * KIB,
    targetBytes: 8 * KIB,
  });
  t.match(headLimits({ maxHead: 32 * KIB, maxTarget: 16 * KIB }), {
    targetBytes: 16 * KIB,
    pathBytes: 8 * KIB,
  });
  t.match(headLimits({ maxHead: KIB, maxField: 30 * KIB, maxTarget: 16 * KIB }), {
    fieldBytes: KIB,
    targetBytes: KIB,
  });
});

t.test(
  'a path has a limit of its own in every form of target, the same for every split',
  async (t) => {
    const limits = httpLimits({ pathBytes: 100, targetBytes: 300 });
    const refused = (target: string): string => {
      const text = `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`;
      const verdicts = new Set<string>();
      for (let end = 1; end <= text.length; end += 1) {
        try {
          parseRequestHead(text.slice(0, end), limits);
        } catch (failure) {
          verdicts.add(
            failure instanceof Fault ? `${failure.code}: ${failure.describe()}` : 'broken',
          );
        }
      }
      return [...verdicts].join('|');
    };
    const path = `/${'a'.repeat(99)}`;
    for (const before of ['', 'http://crm.internal', `http://${'h'.repeat(150)}`]) {
      t.equal(refused(before + path), '', before);
      t.equal(refused(`${before}${path}?${'q'.repeat(40)}`), '', before);
      t.match(
        refused(`${before}${path}b`),
        /^target-too-long: the path is longer than 100 bytes; .*maxTarget[^|]*$/,
        before,
      );
      t.match(
        refused(`${before}/?${'q'.repeat(300)}`),
        /^target-too-long: the request target [^|]*$/,
        before,
      );
    }
    t.equal(
      refused(`http://crm.internal?/${'q'.repeat(150)}`),
      '',
      'a slash in a query begins no path',
    );
  },
);

t.test('a body of which little is left may be taken off', async (t) => {
  const limits = httpLimits({ skippedBytes: 10 });
  const owner = { side: 'request' as const, bodyEnded() {}, bodyRefused() {}, bodyWaiting() {} };
  const body = (length: number): IncomingBody =>
    new IncomingBody({ kind: 'length', length }, new ReadBuffer(new PassThrough()), owner, limits);
  t.ok(body(10).short);
  t.notOk(body(11).short);
  t.notOk(
    new IncomingBody({ kind: 'chunked' }, new ReadBuffer(new PassThrough()), owner, limits).short,
  );
  const given = body(5);
  given.cancel(new Error('not wanted'));
  t.notOk(given.short, 'one that failed is not read on');
});
