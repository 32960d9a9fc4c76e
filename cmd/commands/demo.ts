/**
 * `chaperone demo`: sets the stage, tells the story, checks each claim. Exit status 1 when one did
 * not hold.
 */
import { Fault } from '../../lib/base/fault.ts';
import { ATTESTS_NOBODY } from '../../lib/dev/workload-api.ts';
import { type Breakage, setStage, type Stage } from '../demo/setup.ts';
import { SAAS_HOST } from '../demo/documents.ts';
import { STORY } from '../demo/story.ts';
import type { Io } from '../io.ts';
import { processSignals } from '../signals.ts';

export interface DemoOptions {
  readonly keep?: boolean;
  readonly break?: string;
}

export async function demo(options: DemoOptions, io: Io): Promise<void> {
  const { style } = io;
  const breakage = breakageOf(options.break);
  const lines: string[] = [];
  await using stage = await setStage(breakage, (line) => void lines.push(line));
  io.out(style.bold('Chaperone, with everything on this machine'));
  io.out(style.dim(ATTESTS_NOBODY));
  if (options.keep === true) return keep(stage, io);
  let failures = 0;
  for (const { title, check } of STORY) {
    try {
      io.out(`${style.good('✔')} ${title}\n    ${style.dim(await check(stage))}`);
    } catch (failure) {
      failures += 1;
      io.out(
        `${style.bad('✘')} ${title}\n    ` +
          `${failure instanceof Error ? failure.message : String(failure)}`,
      );
    }
  }
  if (failures === 0) {
    io.out(style.bold(`\nAll ${STORY.length} claims held.`));
    return;
  }
  for (const line of lines.slice(-20)) io.err(line.trimEnd());
  io.out(style.bold(`\n${failures} of ${STORY.length} claims did not hold.`));
  process.exitCode = 1;
}

function breakageOf(text: string | undefined): Breakage {
  if (text === undefined || text === 'allow-all' || text === 'no-rotation') return text;
  throw new Fault('usage', `--break takes allow-all or no-rotation, not ${JSON.stringify(text)}`);
}

async function keep(
  { proxyUrl, variables, configFile, auditFile, sidecar }: Stage,
  { out }: Io,
): Promise<void> {
  using signals = processSignals(() => void sidecar.reload());
  out(`configuration  ${configFile} (loaded again when it changes)`);
  out(`evidence       ${auditFile}`);
  out(`health         http://127.0.0.1:${sidecar.addresses.get('health')?.port}/readyz`);
  out(`try            http_proxy=${proxyUrl} curl http://crm.internal/v1/customers`);
  out(
    `               https_proxy=${proxyUrl} curl --cacert ${variables['SSL_CERT_FILE']} ` +
      `https://${SAAS_HOST}/v1/models`,
  );
  out('               Ctrl-C ends everything');
  await signals.stop;
}
