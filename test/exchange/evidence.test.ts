import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { evidence, plain } from '../../lib/exchange/evidence.ts';
import { Exchange } from '../../lib/exchange/exchange.ts';
import { faultAnswer, reasonPhrase } from '../../lib/exchange/fault-response.ts';
import { memoryAudit } from '../support/audit.ts';

t.test(
  'text from outside cannot break a line, steer a terminal or grow without bound (R7)',
  async (t) => {
    t.equal(plain('a\r\nb\u001b[31mc\u0085d\u2028e\u0000'), 'a??b?[31mc?d?e?');
    t.equal(plain('x'.repeat(1000)).length, 300);
    const audit = memoryAudit();
    const records = evidence({ audit, clock: systemClock, onFailure: 'deny' });
    const exchange = new Exchange('forward', { bytesRead: 0, bytesWritten: 0 }, 0);
    records.refused(exchange, new Fault('malformed', 'line\r\n{"kind":"decided"}'));
    records.ended(exchange, new Fault('malformed', '\u001b]0;title\u0007'));
    await records.settled();
    t.match(audit.records, [{ reason: 'line??{"kind":"decided"}' }, { reason: '?]0;title?' }]);
  },
);

t.test(
  'an answer tells code, message, hint and decision; what failed inside stays inside',
  async (t) => {
    const { head, body } = faultAnswer(new Fault('internal', 'secret detail', { hint: 'none' }), {
      id: 'id-1',
      fields: ['accept', 'application/json'],
    });
    t.match(JSON.parse(body.toString()), {
      error: 'internal',
      message: 'the sidecar failed',
      decision: 'id-1',
    });
    t.notMatch(body.toString(), 'secret');
    t.match(head, { status: 500, close: true, length: body.length });
    t.match(faultAnswer(new Fault('upstream-refused', 'x'), { id: 'id' }).head, {
      status: 502,
      close: false,
    });
    t.match(faultAnswer(new Fault('no-identity', 'x'), { id: 'id' }).head, {
      status: 503,
      close: false,
    });
  },
);

t.test(
  'a refusal is JSON for who asks for JSON or speaks it, and one line of text for all others',
  async (t) => {
    const fault = new Fault('denied', 'rule no-admin denies GET /admin', {
      hint: 'ask for another',
    });
    const told = (fields: string[] | undefined): string =>
      faultAnswer(fault, { id: 'id-1', rule: 'no-admin', fields }).body.toString();
    const message = 'rule no-admin denies GET /admin; ask for another; do not repeat it as it is';
    const json = JSON.stringify({ error: 'denied', message, rule: 'no-admin', decision: 'id-1' });
    for (const fields of [
      ['accept', 'application/json'],
      ['accept', 'text/html, application/problem+JSON;q=0.5'],
      ['content-type', 'application/json; charset=utf-8'],
    ])
      t.equal(told(fields), `${json}\n`, fields.join(': '));
    for (const fields of [
      undefined,
      [],
      ['accept', '*/*'],
      ['accept', 'application/jsonp'],
      ['x-accept', 'a/json'],
    ])
      t.equal(
        told(fields),
        `${message} [chaperone: denied, rule no-admin, decision id-1]\n`,
        String(fields?.join(': ')),
      );
  },
);

t.test(
  'the reason phrase of a refused CONNECT is printable, bounded and quotes nothing unread',
  async (t) => {
    t.equal(
      reasonPhrase(new Fault('denied', 'no destination has caf\u00e9\r\n.example:443'), true),
      'chaperone: no destination has caf???.example:443; do not repeat it as it is',
    );
    t.equal(reasonPhrase(new Fault('denied', 'x'.repeat(500)), true).length, 120);
    t.equal(
      reasonPhrase(new Fault('malformed', '"user:SECRET@x" is no host'), false),
      'chaperone: malformed',
    );
    t.equal(reasonPhrase(new Fault('internal', 'SECRET'), true), 'chaperone: the sidecar failed');
  },
);

t.test(
  'an exchange is aborted once; the first reason stands, whoever asks for its signal later',
  async (t) => {
    const exchange = new Exchange('forward', { bytesRead: 0, bytesWritten: 0 }, 0);
    exchange.abort(new Fault('no-longer-allowed', 'first'));
    exchange.abort(new Fault('client-gone', 'second'));
    t.equal(exchange.reason?.message, 'first');
    t.ok(exchange.signal.aborted);
    t.throws(() => exchange.throwIfAborted(), { message: 'first' });
  },
);

t.test(
  'limits: connect counts from its begin, the others from the last progress, total from the start',
  async (t) => {
    const transport = { bytesRead: 0, bytesWritten: 0 };
    const exchange = new Exchange('forward', transport, 1000);
    t.equal(exchange.overdue(1e9), undefined, 'nothing is limited before it is allowed');
    exchange.setTotalTimeout(100_000);
    exchange.enter('connect', 500, 1000);
    transport.bytesRead = 5;
    t.equal(exchange.overdue(1499), undefined);
    t.match(exchange.overdue(1500), { code: 'upstream-timeout', hint: /timeouts\.connect/ });
    exchange.enter('headers', 500, 1500);
    exchange.sent = 6;
    t.equal(exchange.overdue(1999), undefined, 'the upload moves');
    transport.bytesRead = 6;
    t.equal(exchange.overdue(2498), undefined);
    t.match(exchange.overdue(2499), { code: 'upstream-timeout', hint: /timeouts\.headers/ });
    exchange.enter('idle', 500, 3000);
    exchange.received = 10;
    t.equal(exchange.overdue(3500), undefined);
    t.match(exchange.overdue(4000), { code: 'timeout', hint: /timeouts\.idle/ });
    exchange.received = 11;
    t.match(exchange.overdue(101_000), { code: 'timeout', hint: /timeouts\.total/ });
  },
);
