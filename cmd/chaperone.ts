#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --max-semi-space-size=2 --no-parallel-scavenge --no-maglev --no-memory-pool --v8-pool-size=1
/**
 * argv to command to exit status. Help and parsing never dial, read no configuration and load no
 * command's code. A Fault becomes its sentence on stderr and its exit status (docs/operations.md);
 * anything else is a bug and says so. The options above, which the image has too, keep the memory
 * of a loaded sidecar close to what it uses: a young generation of a few MB holds all requests that
 * are under way, pages that were freed go back to the system, hot code is compiled once and not
 * twice. One thread beside the main one compiles and collects: several on the same core take turns
 * at its cost, most of all while bodies pass.
 */
import { CommanderError } from 'commander';
import { Fault } from '../lib/base/fault.ts';
import { processIo } from './io.ts';
import { program } from './program.ts';

const USAGE = 64;
const BUG = 70;

const io = processIo();

function exitStatus(failure: unknown): number {
  if (failure instanceof CommanderError) return failure.exitCode === 0 ? 0 : USAGE;
  if (failure instanceof Fault) {
    process.stderr.write(`chaperone: ${failure.describe()}\n`);
    if (io.detail === 'verbose')
      for (const line of causes(failure)) process.stderr.write(`  because: ${line}\n`);
    return failure.exit;
  }
  process.stderr.write(
    `chaperone: this is a bug: ${failure instanceof Error ? failure.stack : String(failure)}\n`,
  );
  return BUG;
}

/** From the nearest to the first. */
function causes({ cause }: Error): readonly string[] {
  if (!(cause instanceof Error)) return [];
  return [cause instanceof Fault ? cause.describe() : cause.message, ...causes(cause)];
}

try {
  await program(io).parseAsync();
} catch (failure) {
  process.exitCode = exitStatus(failure);
}
