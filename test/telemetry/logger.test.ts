/** Log lines: one stated shape, levels, and nothing that could steer a terminal. */
import t from 'tap';
import { logger, terminalStream, type Level } from '../../lib/telemetry/logger.ts';

function written(level: Level): { lines: string[]; log: ReturnType<typeof logger> } {
  const lines: string[] = [];
  return { lines, log: logger(level, { write: (line) => void lines.push(line) }) };
}

t.test('one JSON object a line: time, level in words, component, msg, fields', async (t) => {
  const { lines, log } = written('info');
  log.log('warn', 'identity', 'no SVID yet', {
    hint: 'is there an entry?',
    count: 2,
    left: undefined,
  });
  t.equal(lines.length, 1);
  const line = JSON.parse(lines[0] ?? '');
  t.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.same(
    { ...line, time: '' },
    {
      time: '',
      level: 'warn',
      component: 'identity',
      msg: 'no SVID yet',
      hint: 'is there an entry?',
      count: 2,
    },
  );
  t.match(lines[0], /\}\n$/);
});

t.test('what is below the level is not written', async (t) => {
  const all: readonly Level[] = ['debug', 'info', 'warn', 'error'];
  for (const [n, level] of all.entries()) {
    const { lines, log } = written(level);
    for (const at of all) log.log(at, 'c', 'm');
    t.equal(lines.length, all.length - n, level);
  }
});

const HARMFUL = /[\p{Cc}\u2028-\u202e]/u;
const NASTY = 'a\u001b[31mred\r\nb\u009b31m\u2028\u202e"quoted" \\ é';

t.test('text from outside cannot end a line or steer a terminal, in JSON (R7)', async (t) => {
  const { lines, log } = written('info');
  log.log('info', 'proxy', NASTY, { host: NASTY });
  t.notMatch(lines[0]?.slice(0, -1), HARMFUL);
  t.match(JSON.parse(lines[0] ?? ''), { msg: NASTY, host: NASTY });
});

t.test(
  'for a terminal the same line is short, and coloured only when wanted (R7, NO_COLOR)',
  async (t) => {
    for (const colour of [true, false]) {
      let shown = '';
      const log = logger(
        'info',
        terminalStream((line) => void (shown += line), colour),
      );
      log.log('error', 'proxy', NASTY, { host: NASTY, port: 80 });
      const painted = shown.replace('\u001b[31merror\u001b[0m', 'error');
      t.equal(painted !== shown, colour);
      t.notMatch(painted.slice(0, -1), HARMFUL);
      t.match(
        painted,
        /^\d\d:\d\d:\d\d error proxy: a\\u001b\[31mred\\r\\nb\\u009b31m\\u2028\\u202e"quoted" \\\\ é host=".*" port=80/,
      );
    }
  },
);
