import t from 'tap';
import { newSecret, newTaskId, parseCredentials, proves } from '../../lib/tasks/secret.ts';

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

t.test('a secret has 256 bits, is proved by itself alone and is kept as a digest', async (t) => {
  const one = newSecret();
  t.equal(Buffer.from(one.text, 'base64url').length, 32);
  t.ok(proves(one.text, one.digest));
  t.notOk(proves(newSecret().text, one.digest));
  t.notOk(one.digest.toString('base64url').includes(one.text));
});

t.test('task and secret need no escaping in a URL', async (t) => {
  for (let i = 0; i < 200; i += 1) {
    const [id, { text }] = [newTaskId(), newSecret()];
    const url = new URL(`http://${id}:${text}@127.0.0.1:15001`);
    t.same([url.username, url.password], [id, text]);
    t.same(parseCredentials(basic(`${id}:${text}`), 'x'), { task: id, secret: text });
  }
});

t.test('credentials of any other form are refused, never taken for none', async (t) => {
  const [id, { text }] = [newTaskId(), newSecret()];
  const wrong = [
    '',
    'Basic',
    'Basic ',
    `Bearer ${text}`,
    basic(''),
    basic(id),
    basic(`${id}:`),
    basic(`:${text}`),
    basic(`${id}:${text}x`),
    basic(`${id}:${text.slice(1)}`),
    basic(`${id.toUpperCase()}:${text}`),
    basic(`${id}:${text}:`),
    basic(` ${id}:${text}`),
    basic(`${id}:${text}\n`),
    `${basic(`${id}:${text}`)}, Basic x`,
    `Basic ${Buffer.from(`${id}:${text}`).toString('base64')}!`,
    basic('x'.repeat(10_000)),
  ];
  for (const value of wrong)
    t.throws(
      () => parseCredentials(value, 'x'),
      { code: 'task-unknown', at: 'x' },
      value.slice(0, 80),
    );
});
