/** What each phase of a connection may take, in time and in bytes. */
import t from 'tap';
import { httpLimits } from '../../lib/http/limits.ts';
import { HOST, dial, echo, get, head, manualClock, post, serve, until } from './wire.ts';

t.test('a connection closed by us discards no more than a limit (R1)', async () => {
  await using server = await serve(async (x) => x.respond({ status: 413, fields: [], length: 0 }), {
    limits: httpLimits({ lingerBytes: 10_000 }),
  });
  await using raw = await dial(server.port);
  raw.send(head('POST / HTTP/1.1', HOST, 'Content-Length: 900000000'));
  await raw.sees('413');
  raw.send(Buffer.alloc(5_000_000));
  await server.empty();
});

t.test(
  'each phase has its time: head, keep-alive, body, lingering, slow reader (R1)',
  async (t) => {
    const clock = manualClock();
    const failures: unknown[] = [];
    const limits = httpLimits();
    await using server = await serve(
      async (x) => {
        try {
          if (x.head.target === '/large')
            await x.respond(
              { status: 200, fields: [], length: undefined },
              Buffer.alloc(64_000_000),
            );
          else await echo(x);
        } catch (failure) {
          failures.push(failure);
          throw failure;
        }
      },
      { clock },
    );
    const settled = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 4));
    };
    {
      await using raw = await dial(server.port);
      await until(() => clock.timers > 0, 'the connection');
      clock.advance(limits.keepAliveMs - 1);
      await settled();
      t.equal(raw.closed, false);
      clock.advance(2);
      t.equal(await raw.over(), '', 'idle from the start: closed without a word');
      await server.empty();
    }
    {
      await using raw = await dial(server.port);
      raw.send('GET / HTTP/1.1\r\nX: ');
      await settled();
      // A byte now and then does not buy time: the clock runs from the first.
      for (let i = 0; i < 9; i++) {
        clock.advance(limits.headMs / 10);
        raw.send('a');
        await settled();
        t.equal(raw.closed, false);
      }
      clock.advance(limits.headMs / 5);
      t.match(await raw.over(), /^HTTP\/1\.1 408 /, 'a trickle');
      await server.empty();
    }
    {
      await using raw = await dial(server.port);
      raw.send('GET / HTTP/1.1\r\nHost: a');
      await settled();
      clock.advance(limits.headMs - 1);
      await settled();
      t.equal(raw.text, '');
      clock.advance(2);
      t.match(await raw.over(), /^HTTP\/1\.1 408 /, 'slowloris');
      await server.empty();
    }
    {
      await using raw = await dial(server.port);
      raw.send(get());
      await raw.sees('200');
      clock.advance(limits.keepAliveMs + 1);
      await until(() => raw.ended, 'the end of an idle connection');
      clock.advance(limits.lingerMs + 1);
      await server.empty();
    }
    {
      await using raw = await dial(server.port);
      raw.send(post('abc').slice(0, -1));
      await settled();
      clock.advance(limits.bodyIdleMs - 1);
      raw.send('');
      await settled();
      t.equal(raw.text, '');
      clock.advance(2);
      t.match(await raw.over(), /^HTTP\/1\.1 408 /, 'a body that stops');
      t.match(failures.pop(), { code: 'request-timeout' });
      await server.empty();
    }
    {
      await using raw = await dial(server.port);
      raw.socket.pause();
      raw.send(get('/large'));
      await settled();
      clock.advance(limits.writeIdleMs + 1);
      await until(() => failures.length > 0, 'the slow reader to be cut');
      t.match(failures.pop(), { code: 'client-gone' });
      await server.empty();
    }
  },
);

t.test('the timer of a busy connection is armed seldom (R1)', async (t) => {
  const clock = manualClock();
  await using server = await serve(echo, { clock });
  await using raw = await dial(server.port);
  for (let i = 1; i <= 20; i++) {
    raw.send(get());
    await until(() => raw.text.match(/200 OK/g)?.length === i, 'an answer');
    clock.advance(1000);
    t.ok(clock.timers <= 2);
  }
});

t.test(
  'what is sent ahead of an answer is not taken from the socket without bound (R1)',
  async (t) => {
    let go: () => void = () => {};
    let read = () => 0;
    await using server = await serve(async (x) => {
      read = () => x.connection.bytesRead;
      await new Promise<void>((resolve) => (go = resolve));
      await x.respond({ status: 200, fields: [], length: 0, close: true });
    });
    await using raw = await dial(server.port);
    raw.send(get() + get().repeat(400_000));
    await until(() => read() > 0, 'the first');
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.ok(read() < 300_000, `${read()} bytes`);
    go();
    await raw.over();
  },
);
