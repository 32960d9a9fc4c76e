/** Results as Markdown. */
import { bars, holds, median, NAMES, type Name, type Results, type Round } from './bars.ts';

const ROWS: readonly (readonly [string, keyof Round, number])[] = [
  ['CPU per request, 64 connections, µs', 'cpu64', 1],
  ['CPU per request, 1 connection, µs', 'cpu1', 1],
  ['p50, 1 connection, ms', 'p50of1', 3],
  ['p99, 1 connection, ms', 'p99of1', 3],
  ['p50, 64 connections, ms', 'p50of64', 2],
  ['p99, 64 connections, ms', 'p99of64', 2],
  ['requests per second, 64 connections', 'rate', 0],
  ['new connections: CPU per request, µs', 'cpuClosing', 1],
  ['new connections per second', 'rateClosing', 0],
  ['TCP listener: CPU per request, µs', 'cpuTcp', 1],
  ['MCP tools/call of 4 KB: CPU per call, µs', 'cpuTool', 1],
  ['bulk download, CPU seconds per GB', 'bulk', 2],
];

/** The figures of all programs, then the bars. */
export function tables(results: Results): string {
  const rounds = results.rounds.chaperone.length;
  return [
    line([`median (range) of ${rounds} rounds`, ...NAMES]),
    line(['---', ...NAMES.map(() => '---')]),
    ...ROWS.map(([text, key, digits]) =>
      line([text, ...NAMES.map((name) => cell(results, name, [key, digits]))]),
    ),
    ...sizes(results),
    '',
    line(['bar', 'measured', 'at most', '']),
    line(['---', '---', '---', '---']),
    ...bars(results).map((bar) =>
      line([
        bar.text,
        bar.measured.toFixed(2),
        String(bar.most),
        holds(bar) ? 'holds' : '**missed**',
      ]),
    ),
    '',
    alone(results),
  ].join('\n');
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function cell(
  { rounds }: Results,
  name: Name,
  [key, digits]: readonly [keyof Round, number],
): string {
  const all = rounds[name].flatMap((round) => round[key] ?? []);
  if (all.length === 0) return '–';
  return range(all, digits);
}

function range(all: readonly number[], digits: number): string {
  const [low, high] = [Math.min(...all), Math.max(...all)].map((value) => value.toFixed(digits));
  return `${median(all).toFixed(digits)} (${low}–${high})`;
}

function sizes({ sizes: of }: Results): readonly string[] {
  return [
    line(['start to ready, ms', ...NAMES.map((name) => range(of[name].ready, 0))]),
    line(['RSS idle, MB', ...NAMES.map((name) => of[name].idle.toFixed(0))]),
    line([
      'RSS after load, MB (thousand requests)',
      ...NAMES.map(
        (name) => `${of[name].loaded.toFixed(0)} (${(of[name].requests / 1000).toFixed(0)})`,
      ),
    ]),
  ];
}

/** What was measured of Chaperone alone. */
function alone({ decision, emptyNode, streaming, reload }: Results): string {
  const { few, many, condition } = decision;
  return `One decision: ${few.toFixed(2)} µs with 10 destinations, ${many.toFixed(2)} µs with
10,000, ${condition.toFixed(2)} µs where the rule has a condition in CEL. An empty Node process:
${range(emptyNode, 0)} ms. RSS ${streaming[0].toFixed(0)} MB after bodies of 1 MB each way,
${streaming[1].toFixed(0)} MB after 2 GB each way. A reload of ${reload.destinations} destinations
with ten rules each took ${reload.whole.toFixed(0)} ms beside a live event loop; its longest turn
used ${reload.cpu.toFixed(1)} ms of CPU and was over after ${reload.wall.toFixed(1)} ms.`;
}
