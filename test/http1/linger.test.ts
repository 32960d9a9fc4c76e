/** A connection that we close is closed so that its client can read why (RFC 9112 section 9.6). */
import t from 'tap';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Connection } from '../../lib/http/server-exchange.ts';
import { dial, head, serve } from './wire.ts';

const HOST = 'Host: a';

t.test(
  'who goes on writing after a refusal, more than is discarded, is held up before the reset, and so reads the answer',
  async (t) => {
    await using server = await serve(
      async (x) => x.respond({ status: 413, fields: [], length: 0 }),
      {
        limits: httpLimits({ lingerBytes: 1000, farewellMs: 3000 }),
      },
    );
    await using raw = await dial(server.port);
    raw.socket.pause();
    raw.send(head('POST / HTTP/1.1', HOST, 'Content-Length: 900000000'));
    raw.send(Buffer.alloc(40_000_000));
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.equal(raw.error, undefined, 'no reset overtakes the answer');
    raw.socket.resume();
    await raw.sees('413');
    await server.empty();
  },
);

t.test(
  'what still comes after a refusal is discarded up to a bound, and no more is taken',
  async (t) => {
    const seen: Connection[] = [];
    await using server = await serve(
      async (x) => {
        seen.push(x.connection);
        await x.respond({ status: 413, fields: [], length: 0 });
      },
      { limits: httpLimits({ lingerBytes: 1000, farewellMs: 500 }) },
    );
    await using raw = await dial(server.port);
    raw.send(head('POST / HTTP/1.1', HOST, 'Content-Length: 900000000'));
    await raw.sees('413');
    raw.send(Buffer.alloc(40_000_000));
    await server.empty();
    const [connection] = seen;
    t.ok(
      connection !== undefined && connection.bytesRead < 4_000_000,
      `${connection?.bytesRead} of 40000000 bytes`,
    );
  },
);
