import type { Duplex } from 'node:stream';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type TlsConnection, mtlsUpstream } from '../support/upstream.ts';
import t from 'tap';

interface Wrong {
  readonly title: string;
  /** What the upstream does once it has the head of a request. */
  readonly does: (socket: Duplex, seen: TlsConnection) => void;
  /** Of the answer; `cut`: a 200 that ends in a reset. */
  readonly agent: 502 | 504 | 'cut' | 'whole';
  readonly outcome: string;
  readonly timeouts?: Partial<Destination['timeouts']>;
}

const OK = 'HTTP/1.1 200 OK\r\n';
const TEN = `${OK}Content-Length: 10\r\n\r\n`;
const SOON = { headers: 300, idle: 300, total: 700 };

/** The transport under TLS goes, without a word of TLS. */
const reset = (_socket: Duplex, { transport }: TlsConnection): void =>
  void transport.resetAndDestroy();
const finish = (_socket: Duplex, { transport }: TlsConnection): void => void transport.end();

function after(text: string, then: Wrong['does']): Wrong['does'] {
  return (socket, seen) => void socket.write(text, () => setImmediate(() => then(socket, seen)));
}

function trickle(socket: Duplex): void {
  const timer = setInterval(() => socket.write('x'), 50);
  socket.once('close', () => clearInterval(timer));
}

const silent = (): void => {};

const WRONGS: readonly Wrong[] = [
  { title: 'resets before the answer', does: reset, agent: 502, outcome: 'upstream-cut' },
  {
    title: 'resets in the head',
    does: after(`${OK}Content-`, reset),
    agent: 502,
    outcome: 'upstream-cut',
  },
  {
    title: 'resets in the body',
    does: after(`${TEN}abc`, reset),
    agent: 'cut',
    outcome: 'upstream-cut',
  },
  {
    title: 'ends in the body',
    does: (socket) => socket.end(`${TEN}abc`),
    agent: 'cut',
    outcome: 'upstream-cut',
  },
  {
    title: 'ends a body until close, by TLS',
    does: (socket) => socket.end(`${OK}\r\nabc`),
    agent: 'whole',
    outcome: 'completed',
  },
  // The engine does not tell an end under TLS from one by TLS (docs/operations.md, "What cannot be
  // told").
  {
    title: 'ends a body until close, under TLS',
    does: after(`${OK}\r\nabc`, finish),
    agent: 'whole',
    outcome: 'completed',
  },
  {
    title: 'resets a body until close',
    does: after(`${OK}\r\nabc`, reset),
    agent: 'cut',
    outcome: 'upstream-cut',
  },
  {
    title: 'half-closes without an answer',
    does: (socket) => socket.end(),
    agent: 502,
    outcome: 'upstream-cut',
  },
  {
    title: 'says no HTTP',
    does: (socket) => socket.write('\x16\x03\x01 garbage\r\n\r\n'),
    agent: 502,
    outcome: 'upstream-malformed',
  },
  { title: 'never answers', does: silent, agent: 504, outcome: 'upstream-timeout', timeouts: SOON },
  {
    title: 'stops in the head',
    does: after(OK, silent),
    agent: 504,
    outcome: 'upstream-timeout',
    timeouts: SOON,
  },
  {
    title: 'trickles its head',
    does: after(`${OK}X: `, trickle),
    agent: 504,
    outcome: 'upstream-timeout',
    timeouts: SOON,
  },
  {
    title: 'stops in the body',
    does: after(`${TEN}abc`, silent),
    agent: 'cut',
    outcome: 'timeout',
    timeouts: SOON,
  },
  {
    title: 'trickles its body without end',
    does: after(`${OK}Content-Length: 100000\r\n\r\n`, trickle),
    agent: 'cut',
    outcome: 'timeout',
    timeouts: SOON,
  },
  {
    title: 'informs without end',
    does(socket) {
      const timer = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 5);
      socket.once('close', () => clearInterval(timer));
    },
    agent: 502,
    outcome: 'upstream-malformed',
  },
  {
    title: 'says more than it announced',
    does: (socket) => socket.write(`${TEN}0123456789HTTP/1.1 200 OK\r\n\r\n`),
    agent: 'whole',
    outcome: 'completed',
  },
];

const authority = await testAuthority();

for (const { title, does, agent, outcome, timeouts } of WRONGS) {
  t.test(
    `an mTLS upstream that ${title}: ${agent} for the agent, ${outcome} in the record, no socket left (F9)`,
    async (t) => {
      await using upstream = await mtlsUpstream({
        authority,
        raw: (socket, seen) => {
          socket.on('error', () => {}).on('end', () => socket.end());
          socket.once('data', () => does(socket, seen));
        },
      });
      await using proxy = await testProxy({
        authority,
        destinations: [
          testDestination({
            upstream: { host: '127.0.0.1', port: upstream.port },
            ...(timeouts !== undefined && { timeouts }),
          }),
        ],
      });
      const line = await proxy.open();
      line.write('GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
      if (agent === 'cut') {
        await until('the agent sees a cut', () => line.reset, 10_000);
        // A reset may overtake what was sent before it.
        t.notMatch(line.text, /\r\n0\r\n\r\n$/, 'no end of the body is made up');
      } else if (agent === 'whole') {
        await line.sees(/(abc|0123456789)(\r\n0\r\n\r\n)?$/);
      } else {
        const answer = (await line.sees(/\[chaperone: [^]*\n$/)).replace(
          /HTTP\/1\.1 103[^]*?\r\n\r\n/g,
          '',
        );
        t.equal(statusOf(answer), agent, answer);
        t.equal(refusal(answer).code, outcome);
      }
      await proxy.quiet();
      t.match(proxy.audit.of('ended'), [{ outcome }]);
      t.same(unpaired(proxy.audit.records), []);
      await upstream.quiet();
      line.socket.destroy();
    },
  );
}
