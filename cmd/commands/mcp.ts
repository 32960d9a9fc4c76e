/**
 * `chaperone mcp pins|approve`: what servers said of their tools, and what an operator made of it.
 */
import { Fault } from '../../lib/base/fault.ts';
import { textOf } from '../api-client.ts';
import { operator, type DoorOptions } from '../api-socket.ts';
import type { Io } from '../io.ts';
import { table } from '../table.ts';

export interface PinsOptions extends DoorOptions {
  readonly destination?: string;
  readonly changed?: boolean;
  readonly json?: boolean;
}

/** Of a digest, for people; `--json` has all of it. */
const SHOWN = 16;

interface Pin {
  readonly destination: string;
  readonly tool: string;
  readonly pinned: string;
  readonly current: string;
}

export async function mcpPins(options: PinsOptions, io: Io): Promise<void> {
  const { destination, changed } = options;
  const pins = (await pinsOf(options, io))
    .filter((pin) => destination === undefined || pin.destination === destination)
    .filter((pin) => changed !== true || pin.pinned !== pin.current);
  if (options.json === true) {
    io.out(JSON.stringify(pins));
    return;
  }
  if (pins.length === 0) {
    io.out('no such tool has been listed since the sidecar started');
    return;
  }
  const rows = pins.map(({ destination: of, tool, pinned, current }) => {
    const state = pinned === current ? 'as pinned' : 'changed: denied until it is approved';
    return [of, tool, pinned.slice(0, SHOWN), current.slice(0, SHOWN), state];
  });
  for (const line of table(['destination', 'tool', 'pinned', 'current', 'state'], rows, io))
    io.out(line);
}

export interface PinOptions extends DoorOptions {
  readonly destination: string;
  readonly tool: string;
  /** Hexadecimal, or its beginning. */
  readonly digest: string;
}

/** Shortest beginning of a digest that names one. */
const LEAST = 8;

export async function mcpApprove(options: PinOptions, io: Io): Promise<void> {
  const { destination, tool, digest } = options;
  const seen = (await pinsOf(options, io)).filter(
    (pin) => pin.destination === destination && pin.tool === tool,
  );
  const meant = new Set(
    seen.map(({ current }) => current).filter((current) => current.startsWith(digest)),
  );
  const [found] = meant;
  if (found === undefined || meant.size > 1 || digest.length < LEAST) {
    const known = seen.map(({ current }) => current).join(', ');
    throw new Fault(
      'usage',
      `${destination} ${tool}: ${digest} is not the one definition that was seen last`,
      {
        hint:
          known === ''
            ? 'look at chaperone mcp pins'
            : `there is ${known}; at least ${LEAST} characters of it`,
      },
    );
  }
  const query = new URLSearchParams({ destination, tool, digest: found });
  await (
    await operator(options, io)
  ).words({ method: 'POST', path: `/mcp/approve?${query.toString()}` });
  io.out(`approved: ${destination} ${tool} ${found}`);
}

async function pinsOf(options: DoorOptions, io: Io): Promise<readonly Pin[]> {
  const answer = await (await operator(options, io)).ask({ method: 'GET', path: '/mcp/pins' });
  return (Array.isArray(answer) ? answer : []).map((one: unknown) => ({
    destination: textOf(one, 'destination'),
    tool: textOf(one, 'tool'),
    pinned: textOf(one, 'pinned'),
    current: textOf(one, 'current'),
  }));
}
