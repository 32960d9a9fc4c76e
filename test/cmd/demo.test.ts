import t from 'tap';
import { chaperone } from '../support/program.ts';

t.setTimeout(600_000);

t.test('the demo ends by itself with exit 0 and every claim held', async (t) => {
  const { status, out, err } = await chaperone(['demo']);
  t.equal(status, 0, out + err);
  t.match(out, /All \d+ claims held/);
  t.notMatch(out, /✘/);
});

t.test('with an allow-all policy the demo fails, and names what was not denied', async (t) => {
  const { status, out } = await chaperone(['demo', '--break', 'allow-all']);
  t.equal(status, 1);
  t.match(out, /✘ An export is denied by a rule/);
});

t.test('with rotation stopped the demo fails, and says that it saw one serial only', async (t) => {
  const { status, out } = await chaperone(['demo', '--break', 'no-rotation']);
  t.equal(status, 1);
  t.match(out, /✘ The SVID rotates[^✔✘]*one serial only/);
});
