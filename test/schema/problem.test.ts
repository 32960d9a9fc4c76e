import t from 'tap';
import { nearest } from '../../lib/base/nearest.ts';
import { problems, wholeFile } from '../../lib/schema/problem.ts';

t.test(
  'problems come in order of place, each once, as file:line:column path: message; fix',
  async (t) => {
    const list = problems();
    t.equal(list.fault(), undefined);
    const at = (file: string, line: number, column = 1) => ({ file, line, column });
    list.add({ at: at('b', 1), path: '', message: 'm', fix: '' });
    list.add({ at: at('a', 10), path: 'spec.x', message: 'm', fix: 'f' });
    list.add({ at: at('a', 9, 20), path: '', message: 'm', fix: 'f' });
    list.add({ at: at('a', 9, 3), path: '', message: 'm', fix: 'f' });
    list.add({ at: at('a', 9, 3), path: '', message: 'm', fix: 'f' });
    list.add({ at: wholeFile('c'), path: '', message: 'gone', fix: 'f' });
    t.equal(
      list.fault()?.message,
      'a:9:3 m; f\na:9:20 m; f\na:10:1 spec.x: m; f\nb:1:1 m\nc: gone; f',
    );
  },
);

t.test('past a hundred, the rest is counted', async (t) => {
  const list = problems();
  for (let line = 1; line <= 130; line += 1)
    list.add({ at: { file: 'a', line, column: 1 }, path: '', message: 'm', fix: '' });
  const lines = list.fault()?.message.split('\n') ?? [];
  t.equal(lines.length, 101);
  t.equal(lines.at(-1), 'and 30 more');
});

t.test('the nearest name is what was meant, or nothing', async (t) => {
  const names = ['methods', 'paths', 'websocket', 'peers', 'mode'];
  for (const [text, meant] of [
    ['method', 'methods'],
    ['mehtods', 'methods'],
    ['Peers', 'peers'],
    ['peer', 'peers'],
    ['webSocket', 'websocket'],
    ['pahts', 'paths'],
    ['mod', 'mode'],
    ['zzz', undefined],
    ['', undefined],
    ['x'.repeat(10_000), undefined],
  ] as const) {
    t.equal(nearest(text, names), meant, text.slice(0, 20));
  }
});
